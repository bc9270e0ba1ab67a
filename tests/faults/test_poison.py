"""F44: a request that kills workers is not run a third time; everything else is."""

import asyncio
import json
import os
import signal
from collections import Counter
from typing import Any

import pytest

from fastpath.observe.metrics import private_arena
from fastpath.poison.marks import Marks, weak_mark
from fastpath.poison.strikes import ENTRIES, RING, STRONG, STRUCK_FOR, Strikes, mark_words
from loadtest.rig import Conversation, assert_complete, assert_refused, chat
from loadtest.rig.node import port_of, ready, until
from scheduler.clock import ManualClock

POISON = "the text that does it"
#: Seconds to the first token: for ever, and long enough to be killed meanwhile.
SLOW, QUICK = 30.0, 1.0


class Node:
    """A gateway process with two workers before a slow model server."""

    def __init__(self, node: Any, upstream: Any) -> None:
        self.node = node
        self.upstream = upstream
        self.port = port_of(node)

    async def ask(self, text: str, ttft: float = 0.0) -> Any:
        client = await Conversation.open(self.port)
        try:
            return await client.ask(chat({"ttft": ttft}, text=text, key=self.node.key))
        finally:
            client.leave()

    async def kill_the_worker_of(self, text: str, ttft: float = SLOW) -> None:
        """Sends the text, waits until a worker has sent it on, and kills that worker, as the text would."""
        client = await Conversation.open(self.port)
        client.send(chat({"ttft": ttft}, text=text, key=self.node.key))
        await asyncio.to_thread(until, self.running)
        (pid,) = self.running()
        os.kill(pid, signal.SIGKILL)
        await client.ended
        client.leave()
        await asyncio.to_thread(until, lambda: self.is_whole_without(pid))

    def is_whole_without(self, pid: int) -> bool:
        """Whether another worker has taken its place. (Dead but not yet reaped it still counts as a child, and what it
        ran is not known.)"""
        pids = [worker.pid for worker in self.node.children()]
        return len(pids) == 2 and pid not in pids and ready(self.node)

    def running(self) -> list[int]:
        """Pids of the workers that run a request, one for each."""
        return [request["worker"] for request in json.loads(self.node.admin("/debug/requests"))]


@pytest.fixture
def node(mock_process: Any, gateway_process: Any) -> Node:
    mock = mock_process("--model", "llama", "--tokens", "4")
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    return Node(gateway_process({"models": [{"name": "llama", "endpoints": [endpoint]}], "workers": 2}), mock)


async def test_F44_a_request_that_was_running_at_two_deaths_is_refused_and_others_are_not(node: Node) -> None:
    await node.kill_the_worker_of(POISON)
    await node.kill_the_worker_of(POISON)
    seen = Counter(record["model"] for record in node.upstream.records())
    for _ in range(6):  # whichever worker
        reply = await node.ask(POISON, SLOW)
        assert_refused(reply, 422, "poisoned")
    assert Counter(record["model"] for record in node.upstream.records()) == seen, "nobody is asked"
    for text in ("harmless", POISON + ".", POISON[:-1] + "T"):
        assert_complete(await node.ask(text), stream=False)

    def refused() -> list[dict[str, Any]]:
        return [line for line in node.node.access_lines(1) if line["status"] == 422]

    await asyncio.to_thread(until, refused)
    line = refused()[0]
    assert (line["error"], line["attempts"], line.get("cost_nano"), line["outcome"]) == ("poisoned", 0, None, "refused")


async def test_F44_a_bystander_that_is_answered_is_none(node: Node) -> None:
    """It is running at every death, and is answered in between: it never runs out of deaths."""
    for _ in range(3):
        await node.kill_the_worker_of(POISON, QUICK)
        assert_complete(await node.ask(POISON, QUICK), stream=False)


def strikes_after(*deaths: tuple[int, ...]) -> tuple[Strikes, ManualClock]:
    """A table after deaths of workers that ran requests with these marks."""
    arena, clock = private_arena(), ManualClock()
    strikes = Strikes(arena)
    for marks in deaths:
        for word, mark in zip(mark_words(arena, 0), marks, strict=False):
            word.set(mark)
        assert strikes.note_death(0, clock.monotonic()) == len(set(marks))
    return strikes, clock


def test_F44_strikes_end_by_themselves() -> None:
    strikes, clock = strikes_after((5, 6))
    assert strikes.read(clock.monotonic()).struck == {5, 6}
    clock.advance(STRUCK_FOR)
    assert strikes.read(clock.monotonic()).struck == set()


def test_F44_a_death_is_counted_once() -> None:
    arena, clock = private_arena(), ManualClock()
    mark_words(arena, 3)[0].set(9)
    assert [Strikes(arena).note_death(3, clock.monotonic()) for _ in range(2)] == [1, 0]


def test_F44_the_table_is_bounded_and_the_newest_stay() -> None:
    marks = [tuple(range(start, start + RING)) for start in range(1, 8 * RING, RING)]
    strikes, clock = strikes_after(*marks)
    assert len(strikes.read(clock.monotonic()).struck) == ENTRIES // 2
    for number in range(100):
        strikes.clear(STRONG | number, clock.monotonic())
    found = strikes.read(clock.monotonic())
    assert (len(found.struck), len(found.cleared)) == (ENTRIES // 2, ENTRIES // 2)


def test_F44_deaths_are_counted_from_the_last_good_answer() -> None:
    arena, clock = private_arena(), ManualClock()
    strikes, mark = Strikes(arena), STRONG | 7
    strikes.clear(mark, clock.monotonic())
    refused = []
    for _ in range(2):
        mark_words(arena, 0)[0].set(mark)
        strikes.note_death(0, clock.monotonic())
        refused.append(mark in strikes.read(clock.monotonic()).refused)
    assert refused == [False, True]
    strikes.clear(mark, clock.monotonic())
    assert strikes.read(clock.monotonic()).cleared == {mark}


def test_F44_a_new_worker_does_not_inherit_marks() -> None:
    arena = private_arena()
    for word in mark_words(arena, arena.slot):
        word.set(7)
    Marks(arena, ManualClock())
    assert {word.value for word in mark_words(arena, arena.slot)} == {0}


@pytest.mark.parametrize("body", [b"", b"x", b"{}", b"y" * 15, b"z" * 16, bytes(range(256)) * 4096])
def test_F44_a_weak_mark_fits_beside_the_flag_and_is_never_nothing(body: bytes) -> None:
    assert 0 < weak_mark(body) < 1 << 62
    assert weak_mark(body) != weak_mark(body + b"!")
