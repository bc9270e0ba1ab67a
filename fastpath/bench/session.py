"""One measurement from the first look at the endpoint to the result.

Owns the order (model, warm-up, run), the signals that end it early and the objects that live as long as it. Does not
own what is measured. Runs its own event loop in the calling thread.
"""

import asyncio
import contextlib
import gc
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import uvloop

from _native.transport import Poller
from backends.http.resolver import AresQuery, Resolver
from fastpath import __version__
from fastpath.bench.answer import Answer
from fastpath.bench.load import DEFAULT_INPUT, DEFAULT_OUTPUT, Arrival, Load, make_jobs, mode_of
from fastpath.bench.prompt import BodyMaker, PromptMaker
from fastpath.bench.result import (
    VERSION,
    Goal,
    Result,
    Setup,
    errors_of,
    generator_of,
    goodput_of,
    latency_of,
    requests_of,
    throughput_of,
    timeline_of,
)
from fastpath.bench.runner import Runner, Write
from fastpath.bench.tally import Outcome, Tally
from fastpath.bench.target import Endpoint, Target, TargetError
from fastpath.observe.lag import Tick
from scheduler.clock import Clock, SystemClock

#: s between two sweeps of the deadlines, each of which measures the loop's lag too.
TICK: Final = 0.05
#: Descriptors kept for anything but connections.
SPARE: Final = 32

Watch = Callable[[Tally, float], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a measurement needs to know. `model` None: the first that the endpoint lists."""

    target: Target
    load: Load
    trace: Sequence[Arrival] | None = None
    trace_name: str | None = None
    model: str | None = None
    extra: dict[str, Any] = {}
    warmup: int = 1
    goal: Goal | None = None


class Interrupted(Exception):
    """Ended before the first measured request was sent."""


def measure(plan: Plan, watch: Watch) -> tuple[Result, list[Outcome]]:
    """Measures; `watch(tally, seconds since the start)` is called about four times a second.

    Raises TargetError when the endpoint does not answer, LoadError, and Interrupted.
    """
    try:
        return uvloop.run(_Session(plan, watch, SystemClock()).run())
    except asyncio.CancelledError as error:
        raise Interrupted from error


class _Session:
    def __init__(self, plan: Plan, watch: Watch, clock: Clock) -> None:
        self._plan = plan
        self._watch = watch
        self._clock = clock
        self._runner: Runner | None = None
        self._main: asyncio.Task[Any] | None = None

    async def run(self) -> tuple[Result, list[Outcome]]:
        self._main = asyncio.current_task()
        with self._signals():
            async with self._endpoint() as endpoint:
                model = self._plan.model or await endpoint.first_model()
                write = BodyMaker(
                    self._plan.target.api, model, PromptMaker(self._plan.load.seed), self._plan.extra
                ).make
                await self._warm_up(endpoint, write)
                return await self._run(endpoint, model, write)

    # -- what lives as long as the session

    @contextlib.asynccontextmanager
    async def _endpoint(self) -> AsyncIterator[Endpoint]:
        loop, resolver = asyncio.get_running_loop(), Resolver(AresQuery(), self._clock)
        poller = Poller(loop)
        endpoint = Endpoint(self._plan.target, resolver, poller, self._clock, _raise_descriptors() - SPARE)
        self._ticks = Tick(loop, self._clock, self._on_lag, TICK)
        self._ticks.every(endpoint.sweep)
        self._ticks.start()
        self._tally: Tally | None = None
        try:
            yield endpoint
        finally:
            self._ticks.stop()
            await endpoint.close()
            await resolver.close()
            poller.close()

    def _on_lag(self, late: float) -> None:
        if self._tally is not None:
            self._tally.loop_lag.append(late)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._runner is not None:
            self._runner.stop()
        elif self._main is not None:
            self._main.cancel()

    # -- in order

    async def _warm_up(self, endpoint: Endpoint, write: Write) -> None:
        """Requests that are not measured. The first shows whether the endpoint answers at all."""
        first = next(make_jobs(self._plan.load, self._plan.trace), None)
        for number in range(self._plan.warmup if first is not None else 0):
            assert first is not None
            answer = await self._ask(endpoint, write(msgspec.structs.replace(first, number=-1 - number, blocks=())))
            if answer.error is not None:
                raise TargetError(f"does not answer: {answer.error}: {answer.detail}")

    async def _ask(self, endpoint: Endpoint, body: bytes) -> Answer:
        ended: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        source = endpoint.send(body, Answer(self._clock, self._clock.monotonic(), ended.set_result))
        try:
            return await ended
        finally:
            source.cancel()

    async def _run(self, endpoint: Endpoint, model: str, write: Write) -> tuple[Result, list[Outcome]]:
        plan, jobs = self._plan, make_jobs(self._plan.load, self._plan.trace)
        started_at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds")
        mode = mode_of(plan.load, plan.trace)
        with _frozen_heap():
            self._tally = tally = Tally(self._clock.monotonic())
            self._runner = Runner(plan.load, mode, jobs, write, endpoint.send, tally, self._clock)
            self._ticks.every(self._show)
            await self._runner.run()
        elapsed = self._clock.monotonic() - tally.origin
        self._watch(tally, elapsed)
        return self._result(model, started_at, elapsed, tally, self._runner.interrupted), tally.outcomes

    def _show(self) -> None:
        tally = self._tally
        if tally is not None and len(tally.loop_lag) % 5 == 0:
            self._watch(tally, self._clock.monotonic() - tally.origin)

    def _result(self, model: str, started_at: str, elapsed: float, tally: Tally, interrupted: bool) -> Result:
        goal = self._plan.goal
        done = [one for one in tally.outcomes if one.error is None]
        return Result(
            version=VERSION,
            fastpath=__version__,
            started_at=started_at,
            interrupted=interrupted,
            elapsed=elapsed,
            setup=_setup(self._plan, model),
            requests=requests_of(tally),
            errors=errors_of(tally),
            throughput=throughput_of(done, elapsed),
            latency=latency_of(done, tally),
            goodput=None if goal is None else goodput_of(goal, tally, elapsed),
            generator=generator_of(tally),
            timeline=timeline_of(tally),
        )


def _setup(plan: Plan, model: str) -> Setup:
    load, trace = plan.load, plan.trace
    mode = mode_of(load, trace)
    arrivals: Literal["poisson", "constant", "trace"] = "trace" if trace is not None else load.arrivals
    return Setup(
        url=plan.target.url,
        model=model,
        api=plan.target.api,
        mode=mode,
        arrivals=None if mode == "closed" else arrivals,
        rate=load.rate if trace is None or load.rate is not None else _trace_rate(trace, load),
        concurrency=load.clients if mode == "closed" else load.concurrency,
        requests=load.requests,
        duration=load.duration,
        trace=plan.trace_name,
        input_tokens=load.input_tokens or (DEFAULT_INPUT if trace is None else None),
        output_tokens=load.output_tokens or (DEFAULT_OUTPUT if trace is None else None),
        seed=load.seed,
        warmup=plan.warmup,
    )


def _trace_rate(trace: Sequence[Arrival], load: Load) -> float | None:
    used = trace[: load.requests]
    span = used[-1].at - used[0].at
    return (len(used) - 1) / span * load.speed if span > 0 else None


@contextlib.contextmanager
def _frozen_heap() -> Iterator[None]:
    """The cyclic collector looks only at what the run itself makes: going through every module stops the loop."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _raise_descriptors() -> int:
    """The descriptors this process may have, raised to the most it is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
