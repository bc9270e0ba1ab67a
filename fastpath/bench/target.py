"""The endpoint under measurement: its address, its key, and the calls made to it.

Owns the reading of the URL and the choice of the key. The wire is the gateway's own HTTP client. Single loop.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from _native.relay import Sink, Source
from _native.transport import Poller
from backends.base import Deadlines, EndpointSpec, UpstreamError
from backends.call import Call
from backends.http.client import HttpBackend
from backends.http.resolver import Resolver
from fastpath.bench.prompt import Api
from scheduler.clock import Clock

KEY_VARIABLES: Final = ("FASTPATH_API_KEY", "OPENAI_API_KEY")
PATHS: Final[dict[Api, str]] = {"chat": "/chat/completions", "completions": "/completions"}
#: s to connect: a distant server may need several round trips for TLS.
CONNECT: Final = 10.0
_FIELD = re.compile(r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[\x20-\x7e\x80-\xff\t]*)")


class TargetError(Exception):
    """The endpoint cannot be measured; the text says why and what to change."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go. url: base, ending with the version segment; timeout: s for one whole request."""

    url: str
    api: Api = "chat"
    key: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    ca_file: str | None = None
    timeout: float = 300.0

    def spec(self, connections: int) -> EndpointSpec:
        """The endpoint as the HTTP client wants it."""
        patience = self.timeout
        return EndpointSpec(
            "target",
            self.url,
            api_key=None if any(name.lower() == b"authorization" for name, _ in self.headers) else self.key,
            max_connections=connections,
            ca_file=self.ca_file,
            deadlines=Deadlines(min(CONNECT, patience), patience, patience, patience),
        )


def read_url(text: str) -> str:
    """The base URL someone means: `/v1` is added to a bare host, the path of an API taken away. Raises TargetError."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise TargetError(f"{text}: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not text.isascii():
        raise TargetError(f"{text}: not the URL of an API, such as http://127.0.0.1:8000/v1")
    if url.username is not None or url.query or url.fragment:
        raise TargetError("the URL must not hold a user, a query or a fragment; keys come from the environment")
    path = url.path.rstrip("/")
    for known in PATHS.values():
        path = path.removesuffix(known)
    return f"{url.scheme}://{url.netloc}{path or '/v1'}"


def read_key(file: Path | None, environ: Mapping[str, str]) -> str | None:
    """The key from a file, else from the environment, else none. Raises TargetError."""
    if file is None:
        name = next((name for name in KEY_VARIABLES if environ.get(name)), None)
        return None if name is None else _check_key(environ[name], name)
    try:
        return _check_key(file.read_text(), f"--api-key-file {file}")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"--api-key-file {file}: {getattr(error, 'strerror', None) or 'not text'}") from error


def _check_key(text: str, place: str) -> str:
    key = text.strip()
    if not key or not all("!" <= letter <= "~" for letter in key):
        raise TargetError(f"{place}: must hold one key and nothing else")
    return key


def read_headers(lines: Sequence[str]) -> tuple[tuple[bytes, bytes], ...]:
    """`Name: value` lines as fields. Raises TargetError."""
    found = [_FIELD.fullmatch(line) for line in lines]
    if None in found:
        raise TargetError(f"--header {lines[found.index(None)]!r}: must be NAME: VALUE")
    return tuple((field["name"].encode(), field["value"].strip().encode("latin-1")) for field in found if field)


class Endpoint:
    """Sends requests to a target. Closed by `close`."""

    def __init__(self, target: Target, resolver: Resolver, poller: Poller, clock: Clock, connections: int) -> None:
        self._backend = HttpBackend(target.spec(connections), resolver, clock, poller, b"fastpath-bench")
        self._clock = clock
        self._path = PATHS[target.api]
        self._fields = b"".join(b"%b: %b\r\n" % field for field in target.headers)
        self._posted = b"content-type: application/json\r\naccept: text/event-stream\r\n" + self._fields

    def send(self, body: bytes, sink: Sink) -> Source:
        """Sends one request; its answer goes into `sink`."""
        return self._backend.start(Call("POST", self._path, self._posted, body), sink)

    async def first_model(self) -> str:
        """The first name in the model list. Raises TargetError."""
        page = _Page()
        source = self._backend.start(Call("GET", "/models", self._fields, None), page)
        try:
            status, body = await page.whole
        except UpstreamError as error:
            raise TargetError(f"cannot be reached: {error}") from error
        finally:
            source.cancel()
        if status != 200:
            raise TargetError(f"GET /models was answered with {status}; name the model with --model")
        try:
            return msgspec.json.decode(body, type=_ModelList).data[0].id
        except (msgspec.DecodeError, IndexError) as error:
            raise TargetError("GET /models lists no model; name it with --model") from error

    def sweep(self) -> None:
        """Ends what is overdue; to be called several times a second."""
        self._backend.sweep(self._clock.monotonic())

    async def close(self) -> None:
        await self._backend.close()


class _Model(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    data: list[_Model]


class _Page(Sink):
    """Collects a short answer: `whole` is its status and body, or raises UpstreamError."""

    def __init__(self) -> None:
        self.whole: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._body = bytearray()

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> Sink:
        self._status = status
        return self

    def write(self, data: bytes) -> None:
        self._body += data

    def finish(self) -> None:
        if not self.whole.done():
            self.whole.set_result((self._status, bytes(self._body)))

    def fail(self, error: UpstreamError) -> None:
        if not self.whole.done():
            self.whole.set_exception(error)
