"""Reads one HTTP/1.1 response: bytes in, payload out.

Owns the message framing (content-length, chunked, until close; 1xx skipped). Does not know what the payload means.
Raises ValueError for what is no HTTP. Concurrency: one caller. Written apart from the gateway's parsers on purpose: a
mistake they share would not be seen.
"""


class Response:
    """The state of one response. `surplus` counts bytes that came behind its end."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.complete = False
        self.surplus = 0
        self._buffer = b""
        self._chunked = False
        self._left: int | None = None
        self._in_trailer = False

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request."""
        delimited = self._chunked or "content-length" in self.headers
        return self.complete and delimited and not self.surplus and self.headers.get("connection") != "close"

    def feed(self, data: bytes) -> bytes:
        """Takes what was received; returns the payload bytes it completes."""
        self._buffer += data
        if self.status is None and not self._read_head():
            return b""
        payload = self._read_chunks() if self._chunked else self._read_plain()
        if self.complete:
            self.surplus += len(self._buffer)
            self._buffer = b""
        return payload

    def finish(self) -> None:
        """The connection ended: that completes a response without a length."""
        if self.status is not None and not self._chunked and self._left is None:
            self.complete = True

    def _read_head(self) -> bool:
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end].decode("latin-1"), self._buffer[end + 4 :]
            start, *fields = head.split("\r\n")
            version, _, rest = start.partition(" ")
            if not version.startswith("HTTP/1."):
                raise ValueError(f"no HTTP/1 response: {start[:40]!r}")
            status = int(rest[:3])
            if status >= 200:
                self._begin(status, fields)
                return True
        return False

    def _begin(self, status: int, fields: list[str]) -> None:
        pairs = (field.partition(":") for field in fields)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.status = status
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if not self._chunked and "content-length" in self.headers:
            self._left = int(self.headers["content-length"])

    def _read_plain(self) -> bytes:
        if self._left is None:
            payload, self._buffer = self._buffer, b""
            return payload
        payload, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(payload)
        self.complete = self._left == 0
        return payload

    def _read_chunks(self) -> bytes:
        pieces = []
        while not self.complete:
            if self._in_trailer or not self._left:
                if not self._read_line():
                    break
            else:
                pieces.append(self._read_piece(self._left))
                if not pieces[-1]:
                    break
        return b"".join(pieces)

    def _read_line(self) -> bool:
        """A chunk head, the line end behind a chunk, or a trailer line."""
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        if self._in_trailer:
            self.complete = not line
        elif self._left == 0:
            self._end_chunk(line)
        else:
            self._left = int(line.partition(b";")[0], 16)
            if self._left == 0:
                self._in_trailer = True
        return True

    def _end_chunk(self, line: bytes) -> None:
        if line:
            raise ValueError("a chunk is longer than its head says")
        self._left = None

    def _read_piece(self, left: int) -> bytes:
        piece, self._buffer = self._buffer[:left], self._buffer[left:]
        self._left = left - len(piece)
        return piece
