"""One bounded GET: an answer within a time and a size, or the reason why there is none.

Owns the limits. Does not own sockets, names, TLS and credentials: those are the HTTP backend's, so a probe goes the
very way that a request goes, and follows no redirect. One connection per question: whether the server accepts is part
of what is asked. Single loop.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from _native.relay import Sink, Source
from _native.transport import Poller
from backends.base import Cause, Deadlines, EndpointSpec, UpstreamError
from backends.call import Call
from backends.http.client import HttpBackend
from backends.http.resolver import Resolver
from backends.watch.plan import Watched, origin_of
from scheduler.clock import Clock

AGENT: Final = b"fastpath-watch"
_FIELDS: Final = b"accept: */*\r\nconnection: close\r\n"
_WORDS: Final = {
    Cause.DNS: "its name cannot be resolved",
    Cause.CONNECT: "it cannot be connected to",
    Cause.CONNECT_TIMEOUT: "it does not accept connections in time",
    Cause.TLS: "TLS with it fails",
    Cause.PROTOCOL: "it answers with something that is not HTTP",
    Cause.DISCONNECTED: "it closes the connection without an answer",
}


Gate = Callable[[EndpointSpec], None]
"""Judges a place that is about to be asked, by no data at all: `fastpath.guard.egress`. Raises to stop it."""


class Ways(Protocol):
    """How to get to a server."""

    resolver: Resolver
    sockets: Poller
    clock: Clock
    egress: Gate


class Answer(msgspec.Struct, frozen=True):
    """What came back. problem: why there is none, in words for an operator; else "" and the rest is set."""

    status: int = 0
    body: bytes = b""
    problem: str = ""


class Fetcher:
    """Asks one server. url: any of it; its path does not count."""

    def __init__(self, spec: EndpointSpec, ways: Ways, limit: int) -> None:
        """limit: bytes of a body that are read."""
        self._backend = HttpBackend(spec, ways.resolver, ways.clock, ways.sockets, AGENT)
        self._limit = limit

    async def get(self, target: str, within: float) -> Answer:
        """The answer for a path within so many seconds. Never raises."""
        taken = _Taken(self._limit)
        source = self._backend.start(Call("GET", target, _FIELDS, None), taken)
        taken.source = source
        try:
            async with asyncio.timeout(within):
                return await taken.answer
        except TimeoutError:
            return Answer(problem=f"no whole answer within {within:g} s")
        finally:
            source.cancel()
            taken.source = None  # each knows the other: an answer would stay until the cycle collector comes by

    async def close(self) -> None:
        """Ends what runs."""
        await self._backend.close()


class _Taken(Sink):
    """Collects one answer."""

    def __init__(self, limit: int) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.source: Source | None = None
        self._limit = limit
        self._status = 0
        self._body = bytearray()

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> Sink:
        self._status = status
        return self

    def write(self, data: bytes) -> None:
        if self.answer.done():
            return
        self._body += data
        if len(self._body) > self._limit:
            self._end(Answer(problem=f"its answer has more than {self._limit} bytes"))
            if self.source is not None:
                self.source.cancel()

    def finish(self) -> None:
        self._end(Answer(self._status, bytes(self._body)))

    def fail(self, error: UpstreamError) -> None:
        said = _WORDS.get(error.cause, f"no answer ({error.cause})")
        self._end(Answer(problem=f"{said}: {error.detail}" if error.detail else said))

    def _end(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


def open_fetcher(watched: Watched, url: str, ways: Ways, limit: int) -> Fetcher:
    """A fetcher for the server of a URL, under the rules of the endpoint. Its key goes to its own server alone."""
    return _open(_spec_of(watched, url), ways.egress, ways, limit)


def _open(spec: EndpointSpec, egress: Gate, ways: Ways, limit: int) -> Fetcher:
    egress(spec)
    return Fetcher(spec, ways, limit)


def _spec_of(watched: Watched, url: str) -> EndpointSpec:
    origin = origin_of(url)
    return EndpointSpec(
        name=watched.endpoint,
        url=origin,
        api_key=watched.api_key if origin == origin_of(watched.url) else None,
        tier=watched.tier,
        ca_file=watched.ca_file,
        deadlines=Deadlines(connect=3.0 if watched.tier == "L2" else 1.0),
        networks=watched.networks,
    )
