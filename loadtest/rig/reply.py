"""Reads HTTP/1.1 responses one behind the other: bytes in, replies out.

Owns message framing as a client sees it. Raises ValueError for what is no HTTP. Written apart from the gateway's own
parsers: a mistake they share would not be seen. Concurrency: one caller.
"""

import json
from dataclasses import dataclass, field
from typing import Any

BODILESS = (204, 304)


@dataclass
class Reply:
    """One response. chunks: as the chunked coding cut them; whole: its framing came to an end."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    """Statuses of the 1xx responses before it."""
    chunks: list[bytes] = field(default_factory=list)
    whole: bool = False

    def header(self, name: str) -> str | None:
        """The only value of a field, None when absent. Raises ValueError when it came twice."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise ValueError(f"{name} came {len(values)} times")
        return values[0] if values else None

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of a JSON error body, its form checked."""
        assert self.header("content-type") == "application/json", self
        body = self.json
        assert set(body) == {"error"}, body
        assert set(body["error"]) == {"message", "type", "param", "code"}, body
        assert body["error"]["message"], body
        assert body["error"]["type"], body
        found: dict[str, Any] = body["error"]
        return found

    @property
    def events(self) -> list[bytes]:
        """Payloads of the `data:` fields of a stream's whole events; comments are left out."""
        whole = self.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")[:-1]
        lines = [[line for line in event.split(b"\n") if line.startswith(b"data:")] for event in whole]
        return [b"\n".join(line[5:].removeprefix(b" ") for line in event) for event in lines if event]

    @property
    def frames(self) -> list[Any]:
        """The events as JSON, `[DONE]` left out."""
        return [json.loads(event) for event in self.events if event != b"[DONE]"]

    @property
    def text(self) -> str:
        """Content of the first choice, put together."""
        deltas = [choice.get("delta") or {} for frame in self.frames for choice in frame.get("choices") or []]
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def done(self) -> int:
        """How often `[DONE]` came."""
        return self.events.count(b"[DONE]")

    @property
    def in_band(self) -> dict[str, Any] | None:
        """The error object of the last event, its form checked; None when there is none."""
        frames = self.frames
        if not frames or "error" not in frames[-1]:
            return None
        assert {"message", "type", "code"} <= set(frames[-1]["error"]), frames[-1]
        found: dict[str, Any] = frames[-1]["error"]
        return found


class ReplyReader:
    """Turns a connection's bytes into replies. Tell it of each request's method, in order."""

    def __init__(self) -> None:
        self.done: list[Reply] = []
        self.current = Reply()
        self._methods: list[str] = []
        self._buffer = b""
        self._left: int | None = None
        self._mode = "head"

    def expect(self, method: str) -> None:
        self._methods.append(method)

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            pass

    def eof(self) -> None:
        """The connection ended."""
        if self._mode == "rest":
            self._finish()

    @property
    def rest(self) -> bytes:
        """Bytes that belong to no response."""
        return self._buffer if self._mode == "head" else b""

    def _step(self) -> bool:
        match self._mode:
            case "head":
                return self._read_head()
            case "size":
                return self._read_size()
            case "trailer":
                return self._read_trailer()
            case "rest":
                data, self._buffer = self._buffer, b""
                if data:
                    self.current.chunks.append(data)
                return False
        return self._read_data()

    def _read_head(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        self._buffer = rest
        start, *lines = head.decode("latin-1").split("\r\n")
        if not start.startswith("HTTP/1."):
            raise ValueError(f"no response: {start[:60]!r}")
        status = int(start.split(" ")[1])
        if status < 200:
            self.current.interim.append(status)
            return True
        pairs = (line.partition(":") for line in lines)
        self.current.headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        self.current.status = status
        self._begin(self._methods.pop(0) if self._methods else "GET")
        return True

    def _begin(self, method: str) -> None:
        reply = self.current
        length = reply.header("content-length")
        if method == "HEAD" or reply.status in BODILESS or length == "0":
            self._finish()
        elif reply.header("transfer-encoding") == "chunked":
            if length is not None:
                raise ValueError("a chunked response has a content-length")
            self._mode = "size"
        elif length is not None:
            self._mode, self._left = "data", int(length)
        else:
            self._mode = "rest"

    def _read_size(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer, self._left = rest, int(line.partition(b";")[0], 16)
        self._mode = "chunk" if self._left else "trailer"
        return True

    def _read_trailer(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        if not line:
            self._finish()
        return True

    def _read_data(self) -> bool:
        assert self._left is not None
        if self._mode == "chunk":
            if len(self._buffer) < self._left + 2:
                return False
            if self._buffer[self._left : self._left + 2] != b"\r\n":
                raise ValueError("a chunk is longer than its head says")
            self.current.chunks.append(self._buffer[: self._left])
            self._buffer, self._mode = self._buffer[self._left + 2 :], "size"
            return True
        if not self._buffer:
            return False
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(piece)
        self.current.chunks.append(piece)
        if not self._left:
            self._finish()
        return True

    def _finish(self) -> None:
        self.current.whole = True
        self.done.append(self.current)
        self.current, self._mode, self._left = Reply(), "head", None
