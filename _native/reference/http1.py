"""Pure twin of `_native.http1`: the whole input at once, by regular expressions. An oracle for tests, nothing else."""

import re
from dataclasses import dataclass, field

MAX_HEAD = 65536
MAX_FIELDS = 128
MAX_CHUNK_LINE = 4096
MAX_INTERIM = 16

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\Z")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]+)?\Z")


class ProtocolError(ValueError):
    """As the kernel's."""


@dataclass
class Response:
    """What a connection's bytes say so far."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    head_done: bool = False
    done: bool = False
    keep_alive: bool = False
    excess: int = 0


def parse(data: bytes, eof: bool = False) -> Response:
    """Reads one response from the start of a connection. Raises ProtocolError."""
    for _ in range(MAX_INTERIM + 1):
        head, rest = _split_head(data)
        if head is None:
            return Response()
        response, http10 = _read_head(head)
        if response.status >= 200:
            return _read_body(response, rest, http10, eof)
        if response.status == 101:
            raise ProtocolError("switched protocols")
        data = rest
    raise ProtocolError("too many interim responses")


def _split_head(data: bytes) -> tuple[bytes | None, bytes]:
    end = data.find(b"\r\n\r\n")
    region = data if end < 0 else data[: end + 4]
    if re.search(rb"(?<!\r)\n", region):
        raise ProtocolError("bare LF")
    if region.startswith(b"\r\n"):
        raise ProtocolError("no status line")
    if len(region) > MAX_HEAD:
        raise ProtocolError("large head")
    if end < 0:
        if len(data) >= 7 and not data.startswith(b"HTTP/1."):
            raise ProtocolError("not HTTP/1")
        return None, data
    return data[:end], data[end + 4 :]


def _read_head(head: bytes) -> tuple[Response, bool]:
    first, *lines = head.split(b"\r\n")
    found = STATUS_LINE.match(first)
    if not found:
        raise ProtocolError("status line")
    response = Response(status=int(found[2]))
    if len(lines) > MAX_FIELDS:
        raise ProtocolError("many fields")
    for line in lines:
        parts = FIELD_LINE.match(line)
        if not parts:
            raise ProtocolError("field")
        response.headers.append((parts[1].lower(), parts[2].strip(b" \t")))
    return response, found[1] == b"0"


def _values(response: Response, name: bytes) -> list[bytes]:
    return [value for field_name, value in response.headers if field_name == name]


def _read_body(response: Response, rest: bytes, http10: bool, eof: bool) -> Response:
    response.head_done = True
    response.keep_alive = not http10
    for value in _values(response, b"connection"):
        options = [option.strip() for option in value.lower().split(b",")]
        response.keep_alive = (
            False if b"close" in options else (True if b"keep-alive" in options else response.keep_alive)
        )
    lengths, codings = _values(response, b"content-length"), _values(response, b"transfer-encoding")
    if len(lengths) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", value) for value in lengths):
        raise ProtocolError("Content-Length")
    if len(codings) > 1 or any(value.lower() != b"chunked" for value in codings) or (codings and (lengths or http10)):
        raise ProtocolError("Transfer-Encoding")
    if response.status in (204, 304):
        response.done, response.excess = True, len(rest)
    elif codings:
        _read_chunks(response, rest)
    elif lengths:
        size = int(lengths[0])
        response.body = rest[:size]
        response.done = len(rest) >= size
        response.excess = max(0, len(rest) - size)
    else:
        response.keep_alive = False
        response.body, response.done = rest, eof
    return response


def _take_line(rest: bytes) -> tuple[bytes | None, bytes]:
    end = rest.find(b"\n")
    if (len(rest) if end < 0 else end + 1) > MAX_CHUNK_LINE:
        raise ProtocolError("long chunk line")
    if end < 0:
        return None, rest
    if end == 0 or rest[end - 1 : end] != b"\r":
        raise ProtocolError("bare LF")
    return rest[: end - 1], rest[end + 1 :]


def _read_chunks(response: Response, rest: bytes) -> None:
    while True:
        line, rest = _take_line(rest)
        if line is None:
            return
        found = CHUNK_SIZE.match(line)
        if not found or line.count(b'"') % 2:
            raise ProtocolError("chunk size")
        size = int(found[1], 16)
        if size == 0:
            _read_trailers(response, rest)
            return
        response.body += rest[:size]
        if len(rest) < size + 2:
            if not b"\r\n".startswith(rest[size:]):
                raise ProtocolError("chunk end")
            return
        if rest[size : size + 2] != b"\r\n":
            raise ProtocolError("chunk end")
        rest = rest[size + 2 :]


def _read_trailers(response: Response, rest: bytes) -> None:
    total = 0
    while True:
        line, rest = _take_line(rest)
        if line is None:
            return
        if not line:
            response.done, response.excess = True, len(rest)
            return
        total += len(line) + 2
        if total > MAX_HEAD:
            raise ProtocolError("large trailers")
