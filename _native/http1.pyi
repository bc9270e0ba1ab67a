"""HTTP/1.1 messages without I/O (RFC 9112), as strict as the strictest peer would be.

Refused with ProtocolError, in both directions: a line without CR LF, a folded or malformed field, a control character,
more than 128 fields or 64 KiB of head (HeadTooLarge), Transfer-Encoding other than exactly `chunked`, Content-Length
beside it or twice, a chunk line over 4 KiB. Trailers are dropped.
"""

from collections.abc import Iterable, Mapping
from typing import Self

class ProtocolError(ValueError):
    """The peer does not speak HTTP/1.1 as RFC 9112 says; the connection must not be used again."""

class HeadTooLarge(ProtocolError):
    """More than 64 KiB of head, or more than 128 fields."""

class FieldNames:
    """A fixed set of field names (lower case, at most 64, of at most 40 bytes: ValueError), found without hashing."""

    def __new__(cls, names: Iterable[bytes]) -> FieldNames: ...

def length_field(size: int) -> bytes:
    """`content-length` as it goes on the wire, with its line end. Raises ValueError for less than nothing."""

def write_request(fixed: bytes, fields: bytes, length: int, body: bytes | None) -> bytes:
    """A request in one piece. fixed, fields: its head, each line with its end; length: of its body, in bytes, -1 for
    none to be declared; body: what of it goes out with the head."""

def write_fields(name: bytes, value: bytes, fields: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> bytes:
    """One field, and those of the dict `fields` that have these names (at most 64: ValueError), in their order, each
    as a line with its end."""

class MessageParser:
    """What requests and responses share. Feed it what the socket gives; read the head from the attributes once
    `head_done`. Every field is checked; kept are those in `wanted` (None: all) and those that HTTP itself reads."""

    def __new__(cls, wanted: FieldNames | None = None) -> Self: ...
    @property
    def head_done(self) -> bool: ...
    @property
    def done(self) -> bool:
        """The message is complete."""

    @property
    def keep_alive(self) -> bool:
        """The peer lets the connection carry another exchange."""

    @property
    def length(self) -> int:
        """Declared Content-Length in bytes, -1 when there is none."""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the connection and returns the body bytes among them, framing removed."""

class ResponseParser(MessageParser):
    """One response. Interim (1xx) ones before it are skipped, at most 16; a protocol switch is refused."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Fields in order of arrival, names in lower case."""

    @property
    def excess(self) -> int:
        """Bytes that came after the end of the message: a connection with any must be closed."""

    def reset(self) -> None:
        """Ready for the next response."""

    def eof(self) -> bool:
        """The peer closed. Returns whether the message is complete now (a close-delimited body ends here)."""

class RequestParser(MessageParser):
    """Requests of one connection, one after the other: `reset` between them, then feed `rest` again.

    Also refused: no Host or several (HTTP/1.1), a target that is neither in origin form nor in an absolute form that
    agrees with Host, a fragment, a version other than 1.0 or 1.1, Transfer-Encoding on HTTP/1.0.
    """

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes:
        """Path and query as sent, in origin form."""

    @property
    def fields(self) -> dict[bytes, bytes]:
        """Lower-case name to last value, of the fields kept."""

    @property
    def repeated(self) -> bool:
        """Some field that is kept occurs twice: see `values`."""

    @property
    def expects_continue(self) -> bool: ...
    @property
    def rest(self) -> bytes:
        """What followed the message."""

    def values(self, name: bytes) -> list[bytes]:
        """All values of a (lower-case) field, in order."""

    def reset(self) -> None:
        """Ready for the next request."""
