"""When what happens: a pure function of the seed and the seconds.

Owns the random choices. Does no I/O, reads no clock. Concurrency: frozen values.
"""

import random
from collections.abc import Iterator, Mapping

import msgspec

from loadtest.chaos.kinds import KINDS, LANES, Kind

GAP_S = (0.4, 2.0)
"""Quiet between two faults of a lane, seconds: about a third of the requests meet no fault that excuses anything."""
LASTS_S = (0.2, 0.9)
"""How long a fault lasts. Well below the time-outs: what is only late must not fail."""
CALM_S = 0.5
"""Seconds at the end in which nothing begins or lasts."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One fault to come. Times in seconds since the start of the load."""

    at: float
    kind: str
    lasts: float
    target: int
    """Which worker or model server, modulo how many there are."""
    seed: int
    """Of the fault's own random choices."""


def draw(seed: int, seconds: float, kinds: Mapping[str, Kind] = KINDS) -> list[Planned]:
    """The faults of a run in the order of their beginning. Each lane uses all its kinds before one comes again."""
    lanes = [[name for name, kind in kinds.items() if kind.lane == lane] for lane in LANES]
    planned = [
        one
        for lane, names in zip(LANES, lanes, strict=True)
        if names
        for one in _lane(names, seconds, random.Random(f"{seed} {lane}"))
    ]
    return sorted(planned, key=lambda one: (one.at, one.kind))


def _lane(names: list[str], seconds: float, rand: random.Random) -> Iterator[Planned]:
    at = rand.uniform(*GAP_S)
    for name in _deal(names, rand):
        lasts = rand.uniform(*LASTS_S)
        if at + lasts > seconds - CALM_S:
            return
        yield Planned(at=at, kind=name, lasts=lasts, target=rand.randrange(1 << 16), seed=rand.getrandbits(32))
        at += lasts + rand.uniform(*GAP_S)


def _deal(names: list[str], rand: random.Random) -> Iterator[str]:
    while True:
        yield from rand.sample(names, len(names))
