"""Names to addresses, off the loop, with their TTL.

Owns the cache: an answer is used for its TTL (clamped), and for up to twice its TTL when the name servers fail. One
query per name is in flight at a time. Single event loop.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Protocol

import aiodns

from scheduler.clock import Clock

#: How long name servers may keep a caller waiting who could use the last good answer, s.
PATIENCE = 0.2


class Query(Protocol):
    """Asks the name servers: addresses and TTL in seconds, or OSError."""

    async def __call__(self, host: str) -> tuple[list[str], float]: ...
    async def close(self) -> None:
        """Gives up what it still waits for: its thread must not outlive the loop it reports to."""


@dataclass(slots=True)
class _Known:
    addresses: list[str]
    fresh_until: float
    usable_until: float


class Resolver:
    """Caching resolver. min_ttl and max_ttl (s) clamp what a record says."""

    def __init__(self, query: Query, clock: Clock, min_ttl: float = 1.0, max_ttl: float = 300.0) -> None:
        self._query = query
        self._clock = clock
        self._min_ttl = min_ttl
        self._max_ttl = max_ttl
        self._known: dict[str, _Known] = {}
        self._running: dict[str, asyncio.Future[list[str]]] = {}
        self._retired: list[Query] = []

    def configure(self, query: Query, min_ttl: float, max_ttl: float) -> None:
        """Asks other name servers, under other bounds, from now on. What is known stays until it expires."""
        self._retired.append(self._query)
        self._query, self._min_ttl, self._max_ttl = query, min_ttl, max_ttl

    async def close(self) -> None:
        """Ends the queries that run."""
        for running in list(self._running.values()):
            running.cancel()
        for query in [self._query, *self._retired]:
            await query.close()

    async def addresses(self, host: str) -> list[str]:
        """All addresses of `host`, literal addresses as they are. Raises OSError when there is none to use."""
        if _is_address(host):
            return [host]
        known = self._known.get(host)
        if known is not None and self._clock.monotonic() < known.fresh_until:
            return known.addresses
        running = self._running.get(host)
        if running is None:
            running = self._running[host] = asyncio.ensure_future(self._refresh(host))
            running.add_done_callback(lambda ended: self._forget(host, ended))
        if known is not None and self._clock.monotonic() < known.usable_until:
            done, _ = await asyncio.wait((running,), timeout=PATIENCE)
            return running.result() if done else known.addresses
        return await asyncio.shield(running)

    def _forget(self, host: str, ended: "asyncio.Future[list[str]]") -> None:
        del self._running[host]
        if not ended.cancelled():
            ended.exception()  # heard, even when every caller has given up waiting

    async def _refresh(self, host: str) -> list[str]:
        try:
            addresses, ttl = await self._query(host)
            if not addresses:
                raise OSError(f"no address for {host}")
        except OSError:
            known = self._known.get(host)
            if known is not None and self._clock.monotonic() < known.usable_until:
                return known.addresses
            raise
        ttl = min(max(ttl, self._min_ttl), self._max_ttl)
        now = self._clock.monotonic()
        self._known[host] = _Known(addresses, now + ttl, now + 2 * ttl)
        return addresses


class AresQuery:
    """Asks through c-ares, which also reads the hosts file. Belongs to the loop it is made on. timeout: s per try."""

    def __init__(self, nameservers: tuple[str, ...] = (), timeout: float = 2.0) -> None:
        hosts, port = _split_nameservers(nameservers)
        options: dict[str, Any] = {"udp_port": port, "tcp_port": port} if port else {}
        self._ares = aiodns.DNSResolver(nameservers=hosts or None, timeout=timeout, tries=2, **options)

    async def __call__(self, host: str) -> tuple[list[str], float]:
        try:
            found = await self._ares.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise OSError(f"cannot resolve {host}: {error.args[-1]}") from error
        addresses = [node.addr[0].decode() for node in found.nodes]
        return list(dict.fromkeys(addresses)), float(min((node.ttl for node in found.nodes), default=0))

    async def close(self) -> None:
        await self._ares.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _split_nameservers(nameservers: tuple[str, ...]) -> tuple[list[str], int | None]:
    """("127.0.0.1:5353",) -> (["127.0.0.1"], 5353). One port for all, as c-ares wants it."""
    hosts: list[str] = []
    port: int | None = None
    for text in nameservers:
        host, _, tail = text.rpartition(":") if text.count(":") == 1 else (text, "", "")
        hosts.append(host)
        if tail:
            port = int(tail)
    return hosts, port
