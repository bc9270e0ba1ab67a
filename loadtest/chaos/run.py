"""A whole run: warm-up, baseline, load under faults, calm, load without faults, rest, judgement.

Owns the order of these and what is kept of them. Concurrency: one event loop; the load and one task per lane run
together, all awaited.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from loadtest.chaos import rest
from loadtest.chaos.acts import ACTS
from loadtest.chaos.kinds import KINDS, LANES, Kind
from loadtest.chaos.schedule import Planned, draw
from loadtest.chaos.stage import UPSTREAMS, Stage
from loadtest.checker import INVARIANTS, Violation
from loadtest.checker.allowance import Allowance, Permit
from loadtest.checker.history import AccessLine, ClientLine, History, MockLine, Sample, read_lines
from loadtest.driver import Load
from loadtest.driver import run as drive
from scheduler.clock import Clock

WARM_UP, AFTERWARDS = 240, 120
"""Requests before the faults and after them."""
CALLERS = 12
"""A third of what two cores carry at the model servers' pace."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `schedule` None: drawn from the seed."""

    seed: int
    seconds: float
    """Of load under faults."""
    door: str = "native"
    schedule: list[Planned] | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that happened, wall clock, seconds."""

    begin: float
    end: float
    planned: Planned
    hit: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What happened and what was wrong with it: violations by the name of their invariant, `rest` for what was left.

    `unexcused` counts the requests that met no permit at all: they had to end well.
    """

    started: float
    events: list[Event]
    clients: list[ClientLine]
    unexcused: int
    violations: list[tuple[str, Violation]]


class Traces(msgspec.Struct, kw_only=True):
    """What a run leaves besides its log files."""

    started: float = 0.0
    clients: list[ClientLine] = []
    events: list[Event] = []
    before: list[Sample] = []
    after: list[Sample] = []
    left: list[str] = []


async def run(order: Order, folder: Path, clock: Clock, kinds: Mapping[str, Kind] = KINDS) -> Outcome:
    """Runs in `folder`, where the logs stay. `kinds` says what is permitted. Raises RuntimeError, OSError when the
    stage itself fails."""
    schedule = draw(order.seed, order.seconds, kinds) if order.schedule is None else order.schedule
    traces = Traces()
    async with Stage(folder, order.door, clock) as stage:
        await _warm_up(stage, order, traces, clock)
        await _storm(stage, order, schedule, traces, clock)
        await _calm(stage, order, traces, clock)
    history = _history(stage, traces, _permits(traces.events, kinds))
    return Outcome(
        started=traces.started,
        events=traces.events,
        clients=traces.clients,
        unexcused=sum(history.allowed(line) is history.allowance for line in traces.clients),
        violations=[*(("rest", Violation("gateway", reason)) for reason in traces.left), *check(history)],
    )


def check(history: History) -> list[tuple[str, Violation]]:
    """The violations of every invariant."""
    return [(one.name, violation) for one in INVARIANTS for violation in one.check(history)]


async def _warm_up(stage: Stage, order: Order, traces: Traces, clock: Clock) -> None:
    traces.clients += await drive(_load(stage, order, "warm", n=WARM_UP), clock)
    traces.left += filter(None, [await rest.wait_ready(stage), await rest.wait_empty(stage)])
    traces.before = rest.gauges(stage, clock)


async def _storm(stage: Stage, order: Order, schedule: list[Planned], traces: Traces, clock: Clock) -> None:
    start, traces.started = clock.monotonic(), clock.now()
    load = _load(stage, order, "storm", n=1_000_000, deadline_s=order.seconds)
    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(drive(load, clock))
        for lane in LANES:
            mine = [planned for planned in schedule if KINDS[planned.kind].lane == lane]
            tasks.create_task(_strike(stage, mine, start, traces.events, clock))
    traces.clients += loading.result()


async def _strike(stage: Stage, schedule: list[Planned], start: float, events: list[Event], clock: Clock) -> None:
    for planned in schedule:
        await asyncio.sleep(max(0.0, start + planned.at - clock.monotonic()))
        begin = clock.now()
        hit = await ACTS[planned.kind](stage, planned)
        events.append(Event(begin=begin, end=clock.now(), planned=planned, hit=hit))


async def _calm(stage: Stage, order: Order, traces: Traces, clock: Clock) -> None:
    """The faults are over: everything must finish, and everything must be given back."""
    traces.left.append(await rest.wait_ready(stage))
    await asyncio.sleep(1.0)  # longer than any permit lasts: these requests have none
    lines = await drive(_load(stage, order, "calm", n=AFTERWARDS), clock)
    traces.clients += lines
    traces.left += [await rest.wait_empty(stage), _share(lines)]
    traces.left = [reason for reason in traces.left if reason]
    traces.after = await rest.wait_back(stage, traces.before, clock)


def _share(lines: list[ClientLine]) -> str:
    well = sum(line.outcome in ("complete", "cancelled") for line in lines)
    return "" if well == AFTERWARDS else f"after the faults {well} of {AFTERWARDS} requests ended well"


def _load(stage: Stage, order: Order, phase: str, *, n: int, deadline_s: float = 60.0) -> Load:
    phases = ("warm", "storm", "calm")
    return Load(
        target=stage.url,
        n=n,
        concurrency=CALLERS,
        seed=order.seed * len(phases) + phases.index(phase),
        cancel_ratio=0.15,
        stream_ratio=0.7,
        timeout_s=15.0,
        deadline_s=deadline_s,
    )


def _permits(events: list[Event], kinds: Mapping[str, Kind]) -> tuple[Permit, ...]:
    return tuple(
        permit
        for event in events
        for permit in kinds[event.planned.kind].permits(
            event.begin, event.end, UPSTREAMS[event.planned.target % len(UPSTREAMS)]
        )
    )


def _history(stage: Stage, traces: Traces, permits: tuple[Permit, ...]) -> History:
    return History(
        clients=traces.clients,
        access=read_lines(stage.access, AccessLine),
        mock=[line for leg in stage.legs for log in leg.logs for line in _whole_lines(log)],
        proxy=[*stage.front.connections, *(record for leg in stage.legs for record in leg.proxy.connections)],
        before=traces.before,
        after=traces.after,
        allowance=Allowance(errors=False, permits=permits, upstreams=len(UPSTREAMS)),
    )


def _whole_lines(log: Path) -> list[MockLine]:
    """A model server's log without the half line that a kill may leave."""
    data = log.read_bytes()
    whole = log.with_suffix(".whole")
    whole.write_bytes(data[: data.rfind(b"\n") + 1])
    return read_lines(whole, MockLine)
