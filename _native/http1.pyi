"""HTTP/1.1 responses without I/O (RFC 9112), as strict as the strictest peer would be."""

class ProtocolError(ValueError):
    """The peer does not speak HTTP/1.1 as RFC 9112 says; the connection must not be used again."""

class ResponseParser:
    """Parses one response. Feed it what the socket gives; read the head from the attributes once `head_done`.

    Refused with ProtocolError: a line without CR LF, a folded or malformed field, a control character, more than
    128 fields or 64 KiB of head, Transfer-Encoding other than exactly `chunked`, Content-Length beside it or twice,
    a chunk line over 4 KiB, a protocol switch. Interim (1xx) responses are skipped, at most 16; trailers are dropped.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Fields in order of arrival, names in lower case."""

    @property
    def head_done(self) -> bool: ...
    @property
    def done(self) -> bool:
        """The message is complete; whatever follows is counted in `excess`."""

    @property
    def keep_alive(self) -> bool:
        """The peer lets the connection carry another exchange."""

    @property
    def length(self) -> int:
        """Declared Content-Length in bytes, -1 when there is none."""

    @property
    def excess(self) -> int:
        """Bytes that came after the end of the message: a connection with any must be closed."""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the connection and returns the body bytes among them, framing removed."""

    def eof(self) -> bool:
        """The peer closed. Returns whether the message is complete now (a close-delimited body ends here)."""
