"""Heads and body framing of responses, right or wrong on purpose.

Owns the bytes of status lines, header fields, chunks and trailers. Sends through an Outlet. One response each.
"""

import http
import zlib
from typing import Literal

from backends.mock.fault import Fault
from backends.mock.outlet import Outlet

Mode = Literal["chunked", "length", "close"]

INJECTED = b"x-mock-note: a\nset-cookie: injected=1\rlocation: http://injected.example/\x00\r\n"
GARBAGE = b"\x16\x03\x01\x00\xa5\x01\x00 this is no HTTP \xff\xfe\r\n\r\n\x00"


class Head:
    """A response head in the making; `encode` gives its bytes."""

    def __init__(self, status: int, fault: Fault) -> None:
        self.status = status
        self._fault = fault
        self._lines: list[bytes] = []

    def add(self, name: str, value: str | int | float) -> None:
        """Appends a field as it is, without any check: faults need to be able to lie."""
        self._lines.append(f"{name}: {value}\r\n".encode("latin-1", "replace"))

    def encode(self) -> bytes:
        """Status line and fields, the fault's own ones last."""
        self._add_faults()
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (self.status, _reason(self.status), b"".join(self._lines))

    def _add_faults(self) -> None:
        fault = self._fault
        pairs = fault.headers.items() if isinstance(fault.headers, dict) else fault.headers
        for name, value in pairs:
            self.add(name, value)
        for number in range(fault.many_headers):
            self.add(f"x-mock-{number}", number)
        if fault.big_headers:
            self.add("x-mock-big", "b" * fault.big_headers)
        if fault.header_injection:
            self._lines.append(INJECTED)


class Body:
    """A response body being framed and, if the fault wants it, compressed."""

    def __init__(self, outlet: Outlet, mode: Mode, fault: Fault, *, compress: bool) -> None:
        self._outlet = outlet
        self._mode = mode
        self._trailers = fault.chunked_trailers
        self._zip = zlib.compressobj(wbits=31) if compress else None

    async def send(self, data: bytes) -> None:
        """One frame: one chunk when chunked, flushed when compressed."""
        if self._zip is not None:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        await self._frame(data)

    async def end(self) -> None:
        """Whatever the framing puts behind the last byte."""
        if self._zip is not None:
            await self._frame(self._zip.flush())
        if self._mode == "chunked":
            trailer = b"x-mock-trailer: 1\r\nx-mock-events: done\r\n" if self._trailers else b""
            await self._outlet.write(b"0\r\n" + trailer + b"\r\n")

    async def _frame(self, data: bytes) -> None:
        await self._outlet.write(b"%x\r\n%b\r\n" % (len(data), data) if self._mode == "chunked" else data)


def stream_mode(fault: Fault, version: str) -> Mode:
    """Framing of an event stream."""
    if fault.close_delimited or version == "1.0":
        return "close"
    return "length" if (fault.content_length_sse or fault.short_body) and not fault.gzip else "chunked"


def plain_mode(fault: Fault, version: str) -> Mode:
    """Framing of a body that is known whole."""
    if fault.close_delimited:
        return "close"
    return "chunked" if (fault.chunked or fault.chunked_trailers) and version != "1.0" else "length"


def interim_statuses(fault: Fault) -> tuple[int, ...]:
    """Informational answers that precede the head."""
    wanted = fault.continue_100
    if isinstance(wanted, tuple):
        return wanted
    return (100,) if wanted else ()


def interim_head(status: int) -> bytes:
    """One informational answer."""
    link = b"link: </mock.css>; rel=preload\r\n" if status == 103 else b""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, _reason(status), link)


def _reason(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Overloaded" if status == 529 else b"Unknown"
