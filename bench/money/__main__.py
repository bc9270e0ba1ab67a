"""`python -m bench.run money`: what keeping books costs, whether they keep up, and what a loud tenant or a Redis that
stands still does to others.

Owns the command line, the verdict and the table. Exits 1 when something is void or a goal is missed, 2 when it cannot
be run here.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from bench.e2e.race import Pace
from bench.money import backlog, neighbour, stopped
from bench.money.house import House, Tenant
from bench.money.race import Round, race_once
from bench.options import finish, guarded, steps, suite_parser
from bench.record import Record, make_record
from bench.slo.client import OpenLoop
from bench.stage.callers import Callers, Load, make_body, make_callers, write_load
from bench.stage.peers import start_haproxy
from bench.stage.programs import Programs, Void, require
from bench.stage.upstreams import Upstream, start_plain
from scheduler.clock import SystemClock

PARTS = ("race", "backlog", "neighbour", "stopped")
WORKERS_GOAL, FAMILY_GOAL = 1.35, 2.0
"""Times haproxy's CPU per request."""
NEIGHBOUR_GOAL = 0.10
STOPPED_GOAL_MS = 50.0
ENOUGH = 5


class Figures(msgspec.Struct):
    """Of the parts that were run."""

    rounds: list[Round] = []
    course: backlog.Course | None = None
    pairs: list[neighbour.Pair] = []
    halts: list[stopped.Pair] = []


class Course(msgspec.Struct, frozen=True):
    """How much of each part. `rate` in requests/s."""

    pace: Pace = Pace()
    rounds: int = ENOUGH
    rate: float = 5_000.0
    seconds: float = 600.0
    pairs: int = ENOUGH
    pair_seconds: float = 20.0


QUICK = Course(Pace(1, 1, 16, 1), 1, 300.0, 3.0, 1, 1.0)


def parse(arguments: list[str]) -> argparse.Namespace:
    course = Course()
    parser = suite_parser("money", __doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="run this part alone (again for more)")
    parser.add_argument("--rounds", type=int, default=course.rounds, help="of the race and of pairs (%(default)s)")
    parser.add_argument("--rate", type=float, default=course.rate, help="of the backlog, requests/s (%(default)g)")
    parser.add_argument("--seconds", type=float, default=course.seconds, help="of the backlog (%(default)g)")
    parser.add_argument("--pair-seconds", type=float, default=course.pair_seconds, help="of a half pair (%(default)g)")
    return parser.parse_args(arguments)


def course_of(options: argparse.Namespace) -> Course:
    if options.quick:
        return QUICK
    return Course(Pace(), options.rounds, options.rate, options.seconds, options.rounds, options.pair_seconds)


class Suite:
    """The parts over one folder of programs; `figures`, `voids` and `missed` grow."""

    def __init__(self, programs: Programs, course: Course) -> None:
        self.figures = Figures()
        self.voids: list[str] = []
        self.missed: list[str] = []
        self._programs = programs
        self._course = course
        self._upstream: Upstream = start_plain(programs)

    def run(self, parts: list[str]) -> None:
        """The named parts, one after the other, each with a gateway of its own."""
        todo: dict[str, Callable[[], None]] = {
            "race": self._race,
            "backlog": self._backlog,
            "neighbour": self._neighbour,
            "stopped": self._stopped,
        }
        for part in parts:
            try:
                todo[part]()
            except Void as void:
                self.voids.append(f"{part}: {void}")

    def _race(self) -> None:
        house, load = self._house("race", (Tenant("payer"),))
        haproxy = start_haproxy(self._programs, self._upstream, "haproxy")
        course, clock = self._course, SystemClock()
        for _ in steps(range(course.rounds), "racing", course.rounds):
            self.figures.rounds.append(race_once(house, haproxy, load["payer"], course.pace, clock))
        self._programs.stop(house.subject.pid)
        for what, goal in (("workers", WORKERS_GOAL), ("family", FAMILY_GOAL)):
            if (ratio := ratio_of(self.figures.rounds, what)) > goal:
                self.missed.append(f"CPU per request, {what}: {ratio:.2f} times haproxy, at most {goal}")
        if course.rounds < ENOUGH:
            self.voids.append(f"{course.rounds} rounds are fewer than {ENOUGH}")

    def _backlog(self) -> None:
        house, load = self._house("backlog", (Tenant("payer"),))
        client = OpenLoop(self._programs.folder)
        found = backlog.run_course(house, client, load["payer"], self._course.rate, self._course.seconds)
        self.figures.course = found
        self.missed += backlog.misses(found)
        self._programs.stop(house.subject.pid)

    def _neighbour(self) -> None:
        house, loads = self._house("neighbour", neighbour.TENANTS)
        client, seconds = OpenLoop(self._programs.folder), self._course.pair_seconds
        for number in steps(range(self._course.pairs), "neighbours", self._course.pairs):
            first = number % 2 == 0
            self.figures.pairs.append(neighbour.measure_pair(house, client, loads, seconds, first_alone=first))
        self.missed += neighbour.misses(self.figures.pairs, seconds, NEIGHBOUR_GOAL)
        self._programs.stop(house.subject.pid)

    def _stopped(self) -> None:
        redis = stopped.Redis(self._programs, self._programs.folder)
        payer = Tenant("payer", ({"count": "requests", "most": 1_000_000, "per": "second"},))
        house, load = self._house("stopped", (payer,), redis.url)
        client, seconds = OpenLoop(self._programs.folder), self._course.pair_seconds
        stopped.await_part(house, client, load["payer"])
        for number in steps(range(self._course.pairs), "stopping Redis", self._course.pairs):
            pair = stopped.measure_pair(house, redis, client, load["payer"], seconds, first_running=number % 2 == 0)
            self.figures.halts.append(pair)
        self.missed += stopped.misses(self.figures.halts, STOPPED_GOAL_MS)
        self._programs.stop(house.subject.pid)

    def _house(self, name: str, tenants: tuple[Tenant, ...], redis: str = "") -> tuple[House, dict[str, Load]]:
        """A gateway with books, and what each tenant's callers send it."""
        folder = self._programs.folder / name
        folder.mkdir(mode=0o700)
        callers: Callers = make_callers(folder / "state")
        house = House(self._programs, self._upstream, callers, tenants, name, redis)
        body = make_body("request")
        return house, {
            tenant.name: write_load(folder, tenant.name, callers.tokens[at :: len(tenants)], body)
            for at, tenant in enumerate(tenants)
        }


def ratio_of(rounds: list[Round], what: str) -> float:
    """The median ratio to haproxy, of the `workers` or the `family`."""
    return float(median(getattr(found, f"{what}_ratio") for found in rounds))


def run(options: argparse.Namespace) -> Record:
    """The parts that were asked for, as a record."""
    require("haproxy", "nginx", "wrk", "gcc", "redis-server")
    course, parts = course_of(options), options.part or list(PARTS)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Programs(Path(folder)) as programs:
        suite = Suite(programs, course)
        suite.run(parts)
    method = {"parts": parts, "keys": 1_000, "store": "sqlite", **msgspec.to_builtins(course)}
    return make_record("money", method, suite.figures, suite.voids, suite.missed)


def show(record: Record, console: Console) -> None:
    """Prints the tables."""
    figures = msgspec.convert(record.figures, Figures)
    if figures.rounds:
        table = Table(title="CPU per request with books")
        for heading in ("counted", "us CPU", "ratio to haproxy", "goal"):
            table.add_column(heading)
        for what, goal in (("workers", WORKERS_GOAL), ("family", FAMILY_GOAL)):
            us = median(getattr(found, f"{what}_us") for found in figures.rounds)
            table.add_row(what, f"{us:.1f}", f"{ratio_of(figures.rounds, what):.2f}", f"<= {goal}")
        console.print(table)
    if (found := figures.course) is not None:
        console.print(
            f"{found.answered.ok} requests at {found.rate:g}/s: at most {found.peak_mb:.1f} MiB and "
            f"{found.longest_lag_s:.1f} s behind, caught up {found.drained_s:.1f} s after the last"
        )
    if figures.pairs:
        alone = median(pair.alone.latency.p95 for pair in figures.pairs)
        count = sum(pair.beside.latency.count for pair in figures.pairs)
        console.print(
            f"beside a tenant at {neighbour.TIMES} times its limit: p95 {neighbour.added_of(figures.pairs):+.1%} "
            f"of {alone:.3f} ms, {count} requests"
        )
    if figures.halts:
        running = median(pair.running.latency.p99 for pair in figures.halts)
        console.print(f"with Redis stopped: p99 {stopped.added_of(figures.halts):+.2f} ms of {running:.2f} ms")


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    return finish(run(options), options, show)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
