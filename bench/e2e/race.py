"""The race itself: everybody on stage, rounds in which each is measured in turn, Fastpath's books checked each time.

Owns the processes and the order. Does not judge (`ratios`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.e2e.books import judge, open_books, read_books
from bench.e2e.ratios import Measurement
from bench.e2e.units import GRANIAN, NATIVE, TWO_WORKERS, UNITS, Behind, Unit, body_of, takes_part
from bench.load.chunks import measure_chunks
from bench.load.probe import await_answer
from bench.load.requests import measure_requests
from bench.stage.callers import Callers, Load, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.peers import LITELLM_KEY, STARTERS
from bench.stage.programs import Programs, Void
from bench.stage.upstreams import Upstream, start_paced, start_plain, start_secure

DOORS: dict[str, tuple[Door, int]] = {NATIVE: ("native", 1), GRANIAN: ("granian", 1), TWO_WORKERS: ("native", 2)}


class Pace(msgspec.Struct, frozen=True):
    """How much load, for how long. Seconds per measurement, wrk's connections, streams held open."""

    seconds: int = 6
    warm_up: int = 2
    connections: int = 64
    streams: int = 300


class Stage:
    """Upstreams and contestants, for the units that are raced. Raises BenchError when somebody does not start."""

    def __init__(self, programs: Programs, names: Sequence[str], units: Sequence[str]) -> None:
        self._programs = programs
        self._callers: Callers = make_callers(programs.folder / "state")
        self._upstreams: dict[Behind, Upstream] = {}
        self._subjects: dict[tuple[str, Behind], Subject] = {}
        self._loads: dict[tuple[bool, str], Load] = {}
        self.entries = [(UNITS[unit], name) for unit in units for name in names if takes_part(name, unit)]
        for unit, name in self.entries:
            self._prepare(unit, name)

    def subject(self, unit: Unit, name: str) -> Subject:
        """Who is measured."""
        return self._subjects[name, unit.behind]

    def load(self, unit: Unit, name: str) -> Load:
        """What it is sent: LiteLLM has one key, everybody else all of them."""
        return self._loads[name == "litellm", unit.name]

    def _prepare(self, unit: Unit, name: str) -> None:
        if unit.behind not in self._upstreams:
            self._upstreams[unit.behind] = self._start_upstream(unit.behind)
        alone = name == "litellm"
        if (alone, unit.name) not in self._loads:
            tokens = (LITELLM_KEY,) if alone else self._callers.tokens
            label = f"{unit.name}{'-one-key' * alone}"
            self._loads[alone, unit.name] = write_load(self._programs.folder, label, tokens, body_of(unit))
        if (name, unit.behind) not in self._subjects:
            self._subjects[name, unit.behind] = self._start(name, unit.behind)
            await_answer(self._subjects[name, unit.behind].port, self.load(unit, name))

    def _start_upstream(self, behind: Behind) -> Upstream:
        # Two of those that routers see: they choose among several workers, as they are meant to.
        if behind == "plain":
            return start_plain(self._programs)
        return start_paced(self._programs, 2) if behind == "paced" else start_secure(self._programs)

    def _start(self, name: str, behind: Behind) -> Subject:
        upstream, label = self._upstreams[behind], f"{name}-{behind}"
        if name not in DOORS:
            return STARTERS[name](self._programs, upstream, label)
        door, workers = DOORS[name]
        plan = Plan(upstream.urls[:1], door, workers, upstream.ca)
        return start_gateway(self._programs, plan, self._callers, label)


def measure(subject: Subject, unit: Unit, load: Load, pace: Pace) -> dict[str, float]:
    """One measurement of one contestant, with Fastpath's books before and after. Raises Void."""
    before = open_books(subject) if subject.log else None
    if unit.streamed:
        chunks = measure_chunks(subject, load, pace.streams, pace.seconds)
        served, cut, figures = chunks.begun, 0, msgspec.to_builtins(chunks)
    else:
        requests = measure_requests(subject, load, pace.connections, pace.seconds, pace.warm_up)
        served, cut, figures = requests.answered, requests.cut, msgspec.to_builtins(requests)
    problem = judge(before, read_books(subject, before), served, cut) if before else None
    if problem:
        raise Void(problem)
    return {name: float(number) for name, number in figures.items()}


def race(
    folder: Path, names: Sequence[str], units: Sequence[str], rounds: int, pace: Pace
) -> Iterator[list[Measurement]]:
    """Round after round; in each, every contestant in turn, and the order turns from round to round."""
    with Programs(folder) as programs:
        stage = Stage(programs, names, units)
        for number in range(rounds):
            yield [_measure(stage, unit, name, pace) for unit, name in turned(stage.entries, number)]


def turned(entries: Sequence[tuple[Unit, str]], number: int) -> list[tuple[Unit, str]]:
    """Units in their order; inside each, the contestants from the `number`th on and then the others."""
    order = []
    for unit in dict.fromkeys(unit for unit, _ in entries):
        names = [name for found, name in entries if found is unit]
        at = number % len(names)
        order += [(unit, name) for name in names[at:] + names[:at]]
    return order


def _measure(stage: Stage, unit: Unit, name: str, pace: Pace) -> Measurement:
    try:
        return Measurement(name, unit.name, measure(stage.subject(unit, name), unit, stage.load(unit, name), pace))
    except Void as void:
        return Measurement(name, unit.name, {}, str(void))
