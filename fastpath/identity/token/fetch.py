"""Asks a server outside (an identity provider, a webhook) over HTTP/1.1: one request, one bounded answer. Only here is
a connection opened.

Owns the deadline, the size cap, TLS verification, and that nothing else is done on the way: no redirect, no cookie, no
proxy, no second address family of a host that was not judged. Does not own which addresses are allowed (`address`).
One connection for each request, because there are few. Single event loop.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlencode

import h11
import msgspec

from fastpath.guard.egress import egress
from fastpath.guard.label import NO_DATA
from fastpath.guard.places import Destination
from fastpath.identity.token.address import ForbiddenTarget, Target, check_addresses, read_url

#: The addresses of a host name; a literal address stays as it is. `backends.http.resolver.Resolver.addresses` is one.
Resolve = Callable[[str], Awaitable[list[str]]]


class FetchProblem(Exception):
    """No answer that could be used. The message names the host and the cause, and nothing that was sent or received."""


class Ask(msgspec.Struct, frozen=True):
    """What is asked: GET, or POST of a form or of JSON. Only the URL is shown by `repr`.

    authorization: the header's value, a secret. headers: more of them. status_only: the body of the answer is not read,
    however long it is.
    """

    url: str
    form: tuple[tuple[str, str], ...] | None = None
    authorization: str | None = None
    json: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    status_only: bool = False

    def __repr__(self) -> str:
        return f"Ask({self.url!r})"


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes


class Fetch(Protocol):
    """Asks, and answers or raises FetchProblem."""

    async def __call__(self, ask: Ask, /) -> Answer: ...


class Caps(msgspec.Struct, frozen=True):
    """How long a request may take from resolving to the last byte (s), and how much may come (bytes)."""

    seconds: float = 5.0
    body: int = 256 * 1024
    head: int = 16 * 1024


class GuardedFetch:
    """The real Fetch. allowed: hosts that may have private or loopback addresses."""

    def __init__(
        self,
        resolve: Resolve,
        allowed: frozenset[str] = frozenset(),
        tls: ssl.SSLContext | None = None,
        caps: Caps = Caps(),  # noqa: B008  (frozen)
    ) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._tls = tls or ssl.create_default_context()
        self._caps = caps

    async def __call__(self, ask: Ask, /) -> Answer:
        """Raises FetchProblem, also for an answer that is too long, too late, compressed or cut off."""
        host = "the URL"
        try:
            target = read_url(ask.url)
            host = target.host
            async with asyncio.timeout(self._caps.seconds):
                return await self._ask(target, ask)
        except TimeoutError:
            raise FetchProblem(f"{host} did not answer within {self._caps.seconds:g} s") from None
        except ForbiddenTarget as problem:
            raise FetchProblem(f"{host} was not asked: {problem}") from None
        except ssl.SSLError as problem:
            raise FetchProblem(f"{host} did not prove who it is: {problem.reason or 'TLS failed'}") from None
        except OSError as problem:
            raise FetchProblem(f"{host} cannot be reached: {problem.strerror or type(problem).__name__}") from None
        except h11.RemoteProtocolError:
            raise FetchProblem(f"{host} did not answer in proper HTTP") from None

    async def _ask(self, target: Target, ask: Ask) -> Answer:
        egress(NO_DATA, Destination(target.host, "L2"))
        addresses = await self._resolve(target.host)
        check_addresses(target, addresses, self._allowed)
        reader, writer = await self._connect(target, addresses)
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._caps.head)
            writer.write(_request_bytes(connection, target, ask))
            await writer.drain()
            return await self._answer(connection, reader, target.host, ask.status_only)
        finally:
            writer.transport.abort()  # one answer is all we want, and a peer must not hold us in its goodbye

    async def _connect(self, target: Target, addresses: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first address that takes us."""
        secure = target.scheme == "https"
        for address in addresses[:-1]:
            try:
                return await self._open(target, address, secure)
            except ssl.SSLError:
                raise
            except OSError:
                continue  # the next one may be alive
        return await self._open(target, addresses[-1], secure)

    async def _open(
        self, target: Target, address: str, secure: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if secure:
            return await asyncio.open_connection(address, target.port, ssl=self._tls, server_hostname=target.host)
        return await asyncio.open_connection(address, target.port)

    async def _answer(
        self, connection: h11.Connection, reader: asyncio.StreamReader, host: str, status_only: bool
    ) -> Answer:
        status, body = 0, bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(8192))  # in parts, or h11 sees a long head whole
            elif isinstance(event, h11.Response):
                status = event.status_code
                if status_only:
                    return Answer(status, b"")
                if any(name == b"content-encoding" for name, _ in event.headers):
                    raise FetchProblem(f"{host} compressed its answer, which was not asked for")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._caps.body:
                    raise FetchProblem(f"{host} sent more than {self._caps.body} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, bytes(body))


async def resolve_by_system(host: str) -> list[str]:
    """A Resolve for a process without a resolver of its own: getaddrinfo in a thread. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _request_bytes(connection: h11.Connection, target: Target, ask: Ask) -> bytes:
    kind, body = _body_of(ask)
    headers = [("host", target.authority), ("accept", "application/json"), ("connection", "close"), *ask.headers]
    if kind is not None:
        headers += [("content-type", kind), ("content-length", str(len(body)))]
    if ask.authorization is not None:
        headers.append(("authorization", ask.authorization))
    request = h11.Request(method="GET" if kind is None else "POST", target=target.path, headers=headers)
    sent = [connection.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())]
    return b"".join(sent)


def _body_of(ask: Ask) -> tuple[str | None, bytes]:
    """Content type and body; None for a GET."""
    if ask.json is not None:
        return "application/json", ask.json
    if ask.form is not None:
        return "application/x-www-form-urlencoded", urlencode(ask.form).encode()
    return None, b""
