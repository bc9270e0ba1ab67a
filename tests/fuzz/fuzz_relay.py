"""The stream filter and its twin must let the same events through, however the stream arrives.

Of the input, byte 0 says where the stream is cut, byte 1 the dialect, the frame limit and the flags.
"""

from collections.abc import Iterator
from typing import Any

from target import fuzz, instrumented, payloads

with instrumented("_native.reference"):
    from _native import relay as native
    from _native.reference import relay as twin

DIALECTS = ("chat", "responses", "messages", "other")
LIMITS = (64, 1 << 20)
STATE = ("frames", "terminal", "finished", "usage", "usage_head", "error", "broken")


def run_native(parts: list[bytes], dialect: str, strip: bool, limit: int, ended: bool) -> list[Any]:
    stream = native.StreamFilter(dialect, strip, limit)
    out = b"".join(stream.push(part) for part in parts)
    if ended:
        out += stream.end()
    return [unified(out), *(getattr(stream, name) for name in STATE)]


def unified(out: bytes) -> bytes:
    """Line ends as LF: a CR LF that was cut in two may lose its LF after the last event, which changes nothing."""
    return out.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def run_twin(stream: bytes, dialect: str, strip: bool, limit: int, ended: bool) -> list[Any]:
    found = twin.filter_stream(stream, dialect, strip, limit, ended)
    return [unified(found.out), *(getattr(found, name) for name in STATE)]


def check(data: bytes) -> None:
    if len(data) < 3:
        return
    step, choice, stream = data[0] or 1, data[1], data[2:]
    options = (DIALECTS[choice & 3], bool(choice & 4), LIMITS[(choice >> 3) & 1], bool(choice & 16))
    expected = run_twin(stream, *options)
    whole = run_native([stream], *options)
    assert whole == expected, (options, whole, expected)
    pieces = run_native([stream[at : at + step] for at in range(0, len(stream), step)], *options)
    assert pieces == expected, (options, pieces, expected)


def seeds() -> Iterator[bytes]:
    for stream in payloads("sse-vectors", "vectors.jsonl"):
        if len(stream) < 5000:
            for choice in (0x18, 0x1C, 0x19, 0x1A, 0x1B, 0x08):
                yield bytes((7, choice)) + stream
    for kind in (b"message_start", b"message_delta", b"message_stop", b"error", b"response.completed"):
        for choice in (0x19, 0x1A, 0x1B):
            yield bytes((3, choice)) + b'data: {"type":"ping"}\n\nevent: x\r\ndata: {"type":"' + kind + b'"}\r\n\r\n'


if __name__ == "__main__":
    fuzz(__file__, check, seeds)
