"""Pure twin of `_native.http1`: the whole input at once, by regular expressions. An oracle for tests, nothing else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_HEAD = 65536
MAX_FIELDS = 128
MAX_CHUNK_LINE = 4096
MAX_EXTENSIONS = 16384
MAX_INTERIM = 16

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\Z")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]+)?\Z")


REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\Z")


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


@dataclass
class Request:
    """The first request of a connection's bytes."""

    method: bytes = b""
    target: bytes = b""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    repeated: bool = False
    expects_continue: bool = False
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    head_done: bool = False
    done: bool = False
    keep_alive: bool = False
    rest: bytes = b""


def parse_request(data: bytes) -> Request:
    """Reads one request from the start of a connection. Raises ProtocolError."""
    head, rest = _split_head(data, b"")
    if head is None:
        return Request()
    first, *lines = head.split(b"\r\n")
    found = REQUEST_LINE.match(first)
    if not found:
        raise ProtocolError("request line")
    request = Request(found[1], found[2], headers=_read_fields(lines), head_done=True)
    http10 = found[3] == b"0"
    hosts = _values(request, b"host")
    if len(hosts) > 1 or (not hosts and not http10):
        raise ProtocolError("Host")
    request.fields = dict(request.headers)
    request.repeated = len(request.fields) != len(request.headers)
    coded, length = _framing(request, http10)
    request.target = _origin_form(request)
    request.expects_continue = not http10 and request.fields.get(b"expect", b"").lower() == b"100-continue"
    if coded:
        _read_chunks(request, rest)
    else:
        request.body, request.done, request.rest = rest[: length or 0], len(rest) >= (length or 0), rest[length or 0 :]
    return request


def _origin_form(request: Request) -> bytes:
    if request.target.startswith(b"/") or (request.target == b"*" and request.method == b"OPTIONS"):
        return request.target
    found = re.fullmatch(rb"(?i:https?)://([^/?]+)(?:(/.*)|(\?.*))?", request.target)
    if not found or found[1].lower() != request.fields.get(b"host", found[1]).lower():
        raise ProtocolError("target")
    return found[2] or b"/" + (found[3] or b"")


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


def _split_head(data: bytes, prefix: bytes = b"HTTP/1.") -> tuple[bytes | None, bytes]:
    end = data.find(b"\r\n\r\n")
    region = data if end < 0 else data[: end + 4]
    if re.search(rb"(?<!\r)\n", region):
        raise ProtocolError("bare LF")
    if region.startswith(b"\r\n"):
        raise ProtocolError("no status line")
    if len(region) > MAX_HEAD:
        raise ProtocolError("large head")
    if end < 0:
        if len(data) >= 7 and not data.startswith(prefix):
            raise ProtocolError("not HTTP/1")
        return None, data
    return data[:end], data[end + 4 :]


def _read_head(head: bytes) -> tuple[Response, bool]:
    first, *lines = head.split(b"\r\n")
    found = STATUS_LINE.match(first)
    if not found:
        raise ProtocolError("status line")
    return Response(status=int(found[2]), headers=_read_fields(lines)), found[1] == b"0"


def _read_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    if len(lines) > MAX_FIELDS:
        raise ProtocolError("many fields")
    fields = []
    for line in lines:
        parts = FIELD_LINE.match(line)
        if not parts:
            raise ProtocolError("field")
        fields.append((parts[1].lower(), parts[2].strip(b" \t")))
    return fields


def _values(message: Response | Request, name: bytes) -> list[bytes]:
    return [value for field_name, value in message.headers if field_name == name]


def _framing(message: Response | Request, http10: bool) -> tuple[bool, int | None]:
    """Whether the body is chunked, and its declared length."""
    message.keep_alive = not http10
    options = [option.strip() for value in _values(message, b"connection") for option in value.lower().split(b",")]
    if b"close" in options or b"keep-alive" in options:
        message.keep_alive = b"close" not in options
    lengths, codings = _values(message, b"content-length"), _values(message, b"transfer-encoding")
    if len(lengths) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", value) for value in lengths):
        raise ProtocolError("Content-Length")
    if len(codings) > 1 or any(value.lower() != b"chunked" for value in codings) or (codings and (lengths or http10)):
        raise ProtocolError("Transfer-Encoding")
    return bool(codings), int(lengths[0]) if lengths else None


def _read_body(response: Response, rest: bytes, http10: bool, eof: bool) -> Response:
    response.head_done = True
    coded, length = _framing(response, http10)
    if response.status in (204, 304):
        response.done, response.excess = True, len(rest)
    elif coded:
        _read_chunks(response, rest)
    elif length is not None:
        response.body = rest[:length]
        response.done = len(rest) >= length
        response.excess = max(0, len(rest) - length)
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


def _read_chunks(response: Response | Request, rest: bytes) -> None:
    extensions = 0
    while True:
        line, rest = _take_line(rest)
        if line is None:
            return
        found = CHUNK_SIZE.match(line)
        if not found or line.count(b'"') % 2:
            raise ProtocolError("chunk size")
        extensions += len(line) - len(found[1])
        if extensions > MAX_EXTENSIONS:
            raise ProtocolError("large chunk extensions")
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


def _read_trailers(response: Response | Request, rest: bytes) -> None:
    total = 0
    while True:
        line, rest = _take_line(rest)
        if line is None:
            return
        if not line:
            response.done = True
            if isinstance(response, Response):
                response.excess = len(rest)
            else:
                response.rest = rest
            return
        if not FIELD_LINE.match(line):
            raise ProtocolError("malformed trailer")
        total += len(line) + 2
        if total > MAX_HEAD:
            raise ProtocolError("large trailers")


def length_field(size: int) -> bytes:
    """The field line that declares a body."""
    if size < 0:
        raise ValueError(f"not a size: {size}")
    return b"content-length: %d\r\n" % size


def write_request(fixed: bytes, fields: bytes, length: int, body: bytes | None) -> bytes:
    """A whole head, and what of the body goes with it."""
    return fixed + fields + (length_field(length) if length >= 0 else b"") + b"\r\n" + (body or b"")


def write_fields(name: bytes, value: bytes, fields: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> bytes:
    """Lines of fields."""
    told = [(name, value), *[(wanted, fields[wanted]) for wanted in names if wanted in fields]]
    return b"".join([b"%b: %b\r\n" % field for field in told])
