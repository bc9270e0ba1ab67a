"""How each kind of fault is done: begun, held for its time, and undone.

Owns the doing. Does not decide when (`schedule`) or what it permits (`kinds`). Concurrency: each act is one coroutine
on the stage's loop; acts of one lane never overlap.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Literal

from loadtest.chaos.schedule import Planned
from loadtest.chaos.stage import Leg, Stage
from loadtest.faultd import AnyRule, Cut, FaultProxy, Latency, Refuse, ResetOnAccept, Slice

Act = Callable[[Stage, Planned], Awaitable[str]]
"""Does the fault and ends it; returns what was hit, for the timeline. Leaves nothing behind."""


async def _hit_worker(stage: Stage, planned: Planned, number: signal.Signals) -> str:
    workers = stage.node.workers()
    if not workers:
        return "no worker is there"
    pid = workers[planned.target % len(workers)]
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return f"worker {pid}"


async def worker_kill(stage: Stage, planned: Planned) -> str:
    return await _hit_worker(stage, planned, signal.SIGKILL)


async def worker_term(stage: Stage, planned: Planned) -> str:
    hit = await _hit_worker(stage, planned, signal.SIGTERM)
    await asyncio.sleep(planned.lasts)
    return hit


async def worker_pause(stage: Stage, planned: Planned) -> str:
    hit = await _hit_worker(stage, planned, signal.SIGSTOP)
    await asyncio.sleep(planned.lasts)
    with suppress(ProcessLookupError, ValueError):
        os.kill(int(hit.removeprefix("worker ")), signal.SIGCONT)
    return hit


def _leg(stage: Stage, planned: Planned) -> Leg:
    return stage.legs[planned.target % len(stage.legs)]


async def _end_mock(stage: Stage, planned: Planned, number: signal.Signals) -> str:
    leg = _leg(stage, planned)
    await leg.end(number)
    await asyncio.sleep(planned.lasts)
    await leg.restart()
    return f"model server {leg.name}"


async def mock_kill(stage: Stage, planned: Planned) -> str:
    return await _end_mock(stage, planned, signal.SIGKILL)


async def mock_term(stage: Stage, planned: Planned) -> str:
    return await _end_mock(stage, planned, signal.SIGTERM)


async def mock_pause(stage: Stage, planned: Planned) -> str:
    leg = _leg(stage, planned)
    leg.send(signal.SIGSTOP)
    await asyncio.sleep(planned.lasts)
    leg.send(signal.SIGCONT)
    return f"model server {leg.name}"


async def _apply(proxy: FaultProxy, planned: Planned, rules: Sequence[AnyRule], breaks: bool) -> None:
    """Rules hold for connections that open now; where they break things, those that are open are ended too, first so
    that new ones open, and at the end so that none lives on under the rules."""
    proxy.set_rules(rules, planned.seed)
    if breaks:
        proxy.drop("rst")
    await asyncio.sleep(planned.lasts)
    proxy.set_rules(())
    if breaks:
        proxy.drop("rst")


def _harmless(planned: Planned, direction: str) -> tuple[AnyRule, ...]:
    rand = random.Random(planned.seed)
    if planned.kind.endswith("latency"):
        return (Latency(mean_ms=rand.uniform(5, 60), jitter_ms=5, direction="down"),)
    return (Slice(size=rand.randint(5, 60), direction="up" if direction == "client" else "down"),)


def _harmful(planned: Planned) -> tuple[AnyRule, ...]:
    rand = random.Random(planned.seed)
    if planned.kind.endswith("refuse"):
        return (Refuse(),)
    if planned.kind.endswith("reset"):
        return (ResetOnAccept(probability=rand.uniform(0.3, 0.9)),)
    how: Literal["rst", "fin"] = "rst" if rand.random() < 0.5 else "fin"
    return (Cut(after_bytes=rand.randint(0, 3000), how=how, probability=rand.uniform(0.3, 0.9)),)


async def upstream_harmless(stage: Stage, planned: Planned) -> str:
    leg, rules = _leg(stage, planned), _harmless(planned, "upstream")
    await _apply(leg.proxy, planned, rules, breaks=False)
    return f"model server {leg.name}, {rules[0]}"


async def upstream_harmful(stage: Stage, planned: Planned) -> str:
    leg, rules = _leg(stage, planned), _harmful(planned)
    await _apply(leg.proxy, planned, rules, breaks=True)
    return f"model server {leg.name}, {rules[0]}"


async def client_harmless(stage: Stage, planned: Planned) -> str:
    rules = _harmless(planned, "client")
    await _apply(stage.front, planned, rules, breaks=False)
    return f"callers, {rules[0]}"


async def client_harmful(stage: Stage, planned: Planned) -> str:
    rules = _harmful(planned)
    await _apply(stage.front, planned, rules, breaks=True)
    return f"callers, {rules[0]}"


async def reload(stage: Stage, planned: Planned) -> str:
    stage.configure(stage.generation + 1)
    await asyncio.sleep(planned.lasts)
    return f"generation {stage.generation}"


async def bad_reload(stage: Stage, planned: Planned) -> str:
    stage.configure(stage.generation, broken="wrokers: 3")
    await asyncio.sleep(planned.lasts)
    stage.configure(stage.generation)
    return f"generation {stage.generation} stays"


ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "worker-kill": worker_kill,
        "worker-term": worker_term,
        "worker-pause": worker_pause,
        "mock-kill": mock_kill,
        "mock-term": mock_term,
        "mock-pause": mock_pause,
        "upstream-latency": upstream_harmless,
        "upstream-slice": upstream_harmless,
        "upstream-cut": upstream_harmful,
        "upstream-reset": upstream_harmful,
        "upstream-refuse": upstream_harmful,
        "client-latency": client_harmless,
        "client-slice": client_harmless,
        "client-cut": client_harmful,
        "client-reset": client_harmful,
        "reload": reload,
        "bad-reload": bad_reload,
    }
)
