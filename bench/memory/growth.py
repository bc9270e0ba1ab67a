"""Resident bytes per stream: of idle streams, and of those whose reader stalls. Owns the arithmetic and the waiting."""

import time
from collections.abc import Sequence

import msgspec

from bench.memory.holder import Holder
from bench.stage.callers import Load
from bench.stage.gateway import Subject
from bench.stage.proc import family, resident_bytes
from bench.stage.programs import Void

STEADY = 64 * 1024
"""Bytes that memory may still move between two looks when it is taken for steady."""
LOOK, LOOKS, STEADY_LOOKS = 0.1, 200, 5


class Level(msgspec.Struct, frozen=True):
    """Streams that were open, and resident bytes of all processes then."""

    streams: int
    resident: int


class Growth(msgspec.Struct, frozen=True):
    """`per_stream`: bytes, from the first level to the last."""

    name: str
    kind: str
    workers: int
    levels: list[Level]
    per_stream: float


def measure_idle(subject: Subject, load: Load, counts: Sequence[int]) -> Growth:
    """Opens idle streams up to each count in turn. Raises Void when a stream is refused or does not stay."""
    with Holder(subject.port, load) as holder:
        levels = []
        for count in counts:
            holder.open_until(count)
            levels.append(Level(count, steady_bytes(subject)))
        if ended := holder.ended():
            raise Void(f"{ended} of {len(holder)} idle streams did not stay as they were")
    return make_growth(subject, "idle", levels)


def measure_stalled(subject: Subject, load: Load, counts: Sequence[int]) -> Growth:
    """The same for readers that never read, before a model server that never stops."""
    with Holder(subject.port, load) as holder:
        levels = []
        for count in counts:
            holder.stall_until(count)
            levels.append(Level(count, steady_bytes(subject)))
    return make_growth(subject, "stalled", levels)


def make_growth(subject: Subject, kind: str, levels: list[Level]) -> Growth:
    return Growth(subject.name, kind, subject.workers, levels, slope_between(levels))


def slope_between(levels: Sequence[Level]) -> float:
    """Bytes per stream from the first level to the last."""
    first, last = levels[0], levels[-1]
    return (last.resident - first.resident) / (last.streams - first.streams)


def steady_bytes(subject: Subject) -> int:
    """Resident bytes once they no longer move; as they are when that does not happen in time."""
    last, steady = -STEADY, 0
    for _ in range(LOOKS):
        time.sleep(LOOK)
        found = resident_bytes(family(subject.pid))
        steady = steady + 1 if abs(found - last) < STEADY else 0
        last = found
        if steady >= STEADY_LOOKS:
            break
    return last
