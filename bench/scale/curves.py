"""The curves: what is varied, and how one point is measured. haproxy is measured beside every point, as the yardstick.

Owns one proxy at a time, started for its points. Raises Void where a point says nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from bench.load.probe import await_answer
from bench.load.requests import Requests, measure_requests
from bench.stage.callers import COUNT, Callers, Load, make_body, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.peers import start_haproxy, start_nginx
from bench.stage.programs import Programs, Void
from bench.stage.upstreams import Upstream, start_plain

Curve = Literal["workers", "connections", "endpoints", "keys"]
CONNECTIONS = 64
"""Where connections are not what is varied, and of the yardstick."""

PEERS = {"haproxy": start_haproxy, "nginx": start_nginx}


class Pace(msgspec.Struct, frozen=True):
    """Seconds of a point and of the yardstick beside it; `rounds` pairs of them."""

    rounds: int = 3
    seconds: int = 3
    reference_seconds: int = 2
    warm_up: int = 1


class Point(msgspec.Struct, frozen=True):
    """Medians over the rounds; `ratio` is to haproxy at 64 connections in the same seconds."""

    curve: Curve
    name: str
    x: int
    cpu_us: float
    ratio: float
    lowest: float
    highest: float
    rps: float
    rss_mb: float
    void: str | None = None


class Ground:
    """The yardstick and the upstream that all points share."""

    def __init__(self, programs: Programs, pace: Pace) -> None:
        self.folder = programs.folder
        self.pace = pace
        self.body = make_body("request")
        self.upstream: Upstream = start_plain(programs)
        self.callers = make_callers(programs.folder / "state")
        self.load = write_load(programs.folder, "shared", self.callers.tokens, self.body)
        self._yardstick = start_haproxy(programs, self.upstream, "yardstick")
        await_answer(self._yardstick.port, self.load)

    def measure(self, curve: Curve, x: int, subject: Subject, load: Load, connections: int = CONNECTIONS) -> Point:
        """One point, in pairs with the yardstick."""
        try:
            pairs = [self._pair(subject, load, connections) for _ in range(self.pace.rounds)]
        except Void as void:
            return Point(curve, subject.name, x, 0, 0, 0, 0, 0, 0, str(void))
        ratios = [found.cpu_us / reference.cpu_us for found, reference in pairs]
        middle = [
            median(column) for column in zip(*((own.cpu_us, own.rps, own.rss_mb) for own, _ in pairs), strict=True)
        ]
        spread = (median(ratios), min(ratios), max(ratios))
        return Point(curve, subject.name, x, middle[0], *spread, middle[1], middle[2])

    def _pair(self, subject: Subject, load: Load, connections: int) -> tuple[Requests, Requests]:
        pace = self.pace
        reference = measure_requests(self._yardstick, self.load, CONNECTIONS, pace.reference_seconds, pace.warm_up)
        return measure_requests(subject, load, connections, pace.seconds, pace.warm_up), reference


def over_workers(ground: Ground, doors: Sequence[Door], xs: Sequence[int]) -> Iterator[Point]:
    """Workers, all on one CPU: what sharing costs, not what more CPUs would give."""
    for door in doors:
        for x in xs:
            with alone(ground, f"workers-{door}-{x}") as programs:
                plan = Plan(ground.upstream.urls[:1], door, x)
                yield ground.measure("workers", x, _start(programs, plan, ground.callers, ground.load), ground.load)


def over_connections(ground: Ground, doors: Sequence[Door], xs: Sequence[int]) -> Iterator[Point]:
    """Callers' connections; haproxy and nginx have curves of their own here."""
    for name in (*PEERS, *doors):
        with alone(ground, f"connections-{name}") as programs:
            subject = _start_any(programs, ground, name)
            for x in xs:
                yield ground.measure("connections", x, subject, ground.load, x)


def over_endpoints(ground: Ground, doors: Sequence[Door], xs: Sequence[int]) -> Iterator[Point]:
    """Endpoints of one model, each an address of its own on the loopback."""
    for x in xs:
        for door in doors:
            with alone(ground, f"endpoints-{door}-{x}") as programs:
                plan = Plan(start_plain(programs, 1, x).urls, door)
                yield ground.measure("endpoints", x, _start(programs, plan, ground.callers, ground.load), ground.load)


def over_keys(ground: Ground, doors: Sequence[Door], xs: Sequence[int]) -> Iterator[Point]:
    """Keys in the table; the load uses all of them, at most as many as it sends requests."""
    for x in xs:
        for door in doors:
            with alone(ground, f"keys-{door}-{x}") as programs:
                callers = make_callers(programs.folder / "state", x)
                load = write_load(programs.folder, "keys", callers.tokens, ground.body)
                plan = Plan(ground.upstream.urls[:1], door)
                yield ground.measure("keys", x, _start(programs, plan, callers, load), load)


def _start_any(programs: Programs, ground: Ground, name: str) -> Subject:
    if name in PEERS:
        return PEERS[name](programs, ground.upstream, name)
    door: Door = "native" if name == "native" else "granian"
    return _start(programs, Plan(ground.upstream.urls[:1], door), ground.callers, ground.load)


def alone(ground: Ground, name: str) -> Programs:
    """A folder of its own, so that logs and pid files do not meet."""
    folder: Path = ground.folder / name
    folder.mkdir()
    return Programs(folder)


def _start(programs: Programs, plan: Plan, callers: Callers, load: Load) -> Subject:
    subject = start_gateway(programs, plan, callers, "fastpath")
    await_answer(subject.port, load)
    return msgspec.structs.replace(subject, name=plan.door)


#: What makes the points of each curve, and where.
CURVES: dict[Curve, tuple[Callable[[Ground, Sequence[Door], Sequence[int]], Iterator[Point]], tuple[int, ...]]] = {
    "workers": (over_workers, (1, 2, 4)),
    "connections": (over_connections, (1, 4, 16, 64, 256, 1_024, 4_096)),
    "endpoints": (over_endpoints, (1, 10, 100, 1_000)),
    "keys": (over_keys, (1, 100, COUNT, 10_000, 100_000)),
}
