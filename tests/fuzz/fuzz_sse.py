"""The server-sent events kernel and its twin must cut and read any stream alike, however it arrives.

The first two bytes of the input say where the stream that follows is cut and how long a frame may be.
"""

from collections.abc import Iterator
from typing import Any

from target import fuzz, instrumented, payloads

with instrumented("_native.reference"):
    from _native import sse as native
    from _native.reference import sse as twin

LIMITS = (8, 64, 1 << 20)


def outcome(module: Any, parts: list[bytes], limit: int) -> list[Any]:
    """Everything a splitter shows."""
    splitter = module.FrameSplitter(limit)
    seen: list[Any] = []
    for part in parts:
        try:
            seen.append((splitter.feed(part), splitter.pending))
        except module.FrameTooLarge as error:
            seen.append(("too large", error.frames, splitter.pending))
    return [*seen, splitter.flush()]


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    step, limit, stream = data[0] or 1, LIMITS[data[1] % len(LIMITS)], data[2:]
    parts = [stream[at : at + step] for at in range(0, len(stream), step)]
    ours, theirs = outcome(native, parts, limit), outcome(twin, parts, limit)
    assert ours == theirs, (ours, theirs)
    assert native.classify(stream) == twin.classify(stream)
    assert native.join_data(stream) == twin.join_data(stream)
    parser = native.EventParser()
    assert [event for part in parts for event in parser.feed(part)] == twin.events(stream)


def seeds() -> Iterator[bytes]:
    for stream in payloads("sse-vectors", "vectors.jsonl"):
        yield b"\xff\x02" + stream
        yield b"\x01\x00" + stream


if __name__ == "__main__":
    fuzz(__file__, check, seeds)
