"""Pure twin of `_native.relay.StreamFilter`: the whole body at once, through the other kernels' twins."""

from dataclasses import dataclass

from _native.reference import jsonscan, sse

FRAME_USAGE, FRAME_ERROR, FRAME_NO_CHOICES, FRAME_FINISHED = 1, 2, 4, 8
RESPONSES_LAST = {"response.completed", "response.incomplete", "response.failed"}


@dataclass
class Filtered:
    """What came out, and the filter's state."""

    out: bytes = b""
    frames: int = 0
    terminal: bool = False
    finished: bool = False
    usage: bytes | None = None
    usage_head: bytes | None = None
    error: bytes | None = None
    broken: str | None = None

    @property
    def over(self) -> bool:
        return self.terminal or self.error is not None or self.broken is not None


def filter_stream(body: bytes, dialect: str, strip_usage: bool, limit: int, ended: bool) -> Filtered:
    """Filters a body; `ended` says that it is complete."""
    state = Filtered()
    stream = body.removeprefix(b"\xef\xbb\xbf")
    splitter = sse.FrameSplitter(1 << 62)
    for frame in splitter.feed(stream):
        if state.over:
            return state
        if len(frame) - frame.endswith(b"\r\n") > limit:
            state.broken = "oversized"
        elif _keep(state, frame, dialect, strip_usage):
            state.out += frame
    rest = splitter.flush()
    if not state.over and len(rest) > limit:
        state.broken = "oversized"
    if ended and not state.over:
        _end(state, rest, dialect, strip_usage)
    return state


def _end(state: Filtered, rest: bytes, dialect: str, strip_usage: bool) -> None:
    if rest.strip():
        rest = rest.rstrip(b"\r\n") + b"\n\n"
        if _keep(state, rest, dialect, strip_usage):
            state.out += rest
        if state.broken is not None:
            state.broken = "truncated"
        if state.over:
            return
    if dialect == "chat" and state.finished:
        state.terminal = True
        state.out += b"data: [DONE]\n\n"
    elif dialect == "other" and state.frames:
        state.terminal = True
    else:
        state.broken = "truncated"


def _keep(state: Filtered, frame: bytes, dialect: str, strip_usage: bool) -> bool:
    """Whether the frame is forwarded."""
    lines, _, _, named_error = sse.classify(frame)
    if lines == 0:
        return state.frames > 0
    data = sse.join_data(frame)
    if data.startswith(b"[DONE]") and dialect != "responses":
        if dialect == "chat" and not state.frames:
            state.broken = "truncated"
            return False
        state.terminal = dialect in ("chat", "other")
        return state.terminal
    if not jsonscan.is_valid(data):
        state.broken = "malformed"
        return False
    flags, kind, _ = jsonscan.frame_facts(data)
    if dialect == "chat":
        return _keep_chat(state, data, flags, named_error, strip_usage)
    return _keep_typed(state, data, kind, dialect)


def _keep_chat(state: Filtered, data: bytes, flags: int, named_error: bool, strip_usage: bool) -> bool:
    if named_error or flags & FRAME_ERROR:
        state.error = data
        return False
    if flags & FRAME_USAGE:
        state.usage = data
        if strip_usage and flags & FRAME_NO_CHOICES:
            return False
    state.finished = state.finished or bool(flags & FRAME_FINISHED)
    state.frames += 1
    return True


def _keep_typed(state: Filtered, data: bytes, kind: str | None, dialect: str) -> bool:
    if kind == "error":
        if state.frames == 0:
            state.error = data
            return False
        state.terminal = True
        return True
    state.frames += 1
    if dialect == "responses" and kind in RESPONSES_LAST:
        state.usage, state.terminal = data, True
    elif dialect == "messages":
        if kind == "message_start":
            state.usage_head = data
        elif kind == "message_delta":
            state.usage = data
        state.terminal = state.terminal or kind == "message_stop"
    return True
