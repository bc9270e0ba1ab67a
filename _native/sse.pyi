"""Server-sent events as the WHATWG HTML standard, section 9.2, reads them (see sse.pxd)."""

class FrameTooLarge(ValueError):
    """A frame, finished or not, is longer than the limit; `frames` were whole before it in the same call."""

    limit: int
    frames: list[bytes]
    def __init__(self, limit: int, frames: list[bytes]) -> None: ...

class FrameSplitter:
    """Cuts one stream into frames, each with the blank line that ends it; together they are the stream's bytes.

    When a chunk ends between the CR and the LF of the CRLF that ends a frame, that LF opens the next frame.
    """

    limit: int
    pending: int
    """Bytes held of the unfinished frame."""

    def __init__(self, limit: int) -> None:
        """`limit`: the longest frame to take, in bytes."""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes. Raises FrameTooLarge, and from then on always."""

    def flush(self) -> bytes:
        """Gives up the unfinished frame's bytes; the next feed starts a new stream."""

class EventParser:
    """Reads one stream's events; what no blank line ends is never an event."""

    def __init__(self, limit: int = 1048576) -> None:
        """`limit`: the longest frame to take, in bytes."""

    def feed(self, data: bytes) -> list[tuple[str, str, str]]:
        """(type, data, last event id) of each event that `data` completes. Raises FrameTooLarge.

        A byte order mark at the start is skipped, ill-formed UTF-8 becomes U+FFFD, an id with a NUL is ignored.
        """

def classify(frame: bytes) -> tuple[int, int, int, bool]:
    """(0 no data | 1 one data line | 2 several, start and end of the first one's value, has it `event: error`?)."""

def join_data(frame: bytes) -> bytes:
    """Values of the frame's data lines with LF between them; empty when it has none."""
