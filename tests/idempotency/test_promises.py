"""What is never stored, what there is no room for, what is damaged, what time does, and what all of it costs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fastpath.account.books import Books
from fastpath.idempotency.answers import Answers
from fastpath.outbox.facts import End, Intent, decode
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from fastpath.settings import Idempotency
from fastpath.settings.tenancy import Limit
from scheduler.clock import Clock, SystemClock
from tests.outbox.records import payloads

Open = Callable[..., Awaitable[Any]]
P0 = (("x-fastpath-data-class", "P0"),)


class Shifted:
    """The machine's clocks, each ahead by some seconds."""

    def __init__(self) -> None:
        self._clock: Clock = SystemClock()
        self.passed = 0.0
        self.jumped = 0.0

    def monotonic(self) -> float:
        return self._clock.monotonic() + self.passed

    def now(self) -> float:
        return self._clock.now() + self.passed + self.jumped


def store_of(world: Any) -> Any:
    return world.served.gateway.app._runtime.idempotency


def shift(world: Any) -> Shifted:
    clock = store_of(world)._clock = Shifted()
    return clock


# -- what is never stored


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_an_answer_of_class_p0_is_never_stored(open_world: Open, stream: bool) -> None:
    world = await open_world()
    headers = (("x-fastpath-data-class", "P0"),)
    assert (await world.ask("key-1", headers=headers, stream=stream)).status == 200
    await world.settle()
    reply = await world.ask("key-1", headers=headers, stream=stream)
    assert (reply.status, reply.error["code"]) == (409, "answer_not_stored")
    assert "data class" in reply.error["message"]
    assert reply.header("x-should-retry") == "false"
    assert world.upstream.asked == 1
    assert list(world.folder.glob("*.answers")) == []


async def test_a_caller_of_class_p0_that_leaves_ends_the_work(open_world: Open) -> None:
    world = await open_world()
    client = await world.served.open()
    client.send(world.request("key-1", {"rate": 5}, headers=P0, stream=True, max_tokens=40))
    await client.events(2)
    client.leave("rst")
    (record,) = await world.served.records.wait(1)
    assert record.events < 40
    reply = await world.ask("key-1", {"rate": 5}, headers=P0, stream=True, max_tokens=40)
    assert (reply.status, reply.error["code"]) == (409, "answer_not_stored")


async def test_no_prompt_answer_or_key_is_in_any_file(open_world: Open) -> None:
    world = await open_world()
    first = await world.ask("canary-key-5f1e", text="canary-prompt-5f1e")
    stream = await world.ask("canary-key-5f1f", text="canary-prompt-5f1e", stream=True)
    await world.settle()
    answer = first.json["choices"][0]["message"]["content"]
    assert (await world.ask("canary-key-5f1e", text="canary-prompt-5f1e")).header("idempotent-replayed") == "true"
    files = [path for path in world.folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert world.folder.stat().st_mode & 0o777 == 0o700
    written = b"".join(path.read_bytes() for path in files)
    for secret in (b"canary", answer.encode()[:8], stream.text.encode()[:8], b"choices", b"acme", b"llama"):
        assert secret not in written


async def test_one_class_among_several_that_is_p0_is_enough(open_world: Open) -> None:
    world = await open_world()
    headers = (("x-fastpath-data-class", "P0"), ("x-fastpath-data-class", "P2"))
    assert (await world.ask("key-1", headers=headers)).status == 200
    await world.settle()
    assert (await world.ask("key-1", headers=headers)).status == 409
    assert (await world.ask("key-2", headers=(("x-fastpath-data-class", "P1"),))).status == 200
    await world.settle()
    assert (await world.ask("key-2")).header("idempotent-replayed") == "true"


def test_cryptography_is_loaded_with_the_first_key_and_not_before() -> None:
    code = "import sys, fastpath.app; print('cryptography' in sys.modules, 'fastpath.idempotency.store' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "True"]


# -- room


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_larger_answer_than_may_be_stored_is_given_once(open_world: Open, stream: bool) -> None:
    world = await open_world(idempotency=Idempotency(keys=64, answer=200))
    assert (await world.ask("key-1", stream=stream)).status == 200
    reply = await world.ask("key-1", stream=stream)
    assert (reply.status, reply.error["code"]) == (409, "answer_not_stored")
    assert "larger" in reply.error["message"]
    assert world.upstream.asked == 1
    assert world.counted("not_kept") == 1
    assert world.counted("lost") == 1


async def test_what_is_recorded_is_in_the_memory_budget_and_leaves_it(open_world: Open) -> None:
    world = await open_world()
    budget = world.served.gateway.app._runtime.budget
    client = await world.served.open()
    client.send(world.request("key-1", {"rate": 20}, stream=True, max_tokens=10))
    reply = await client.events(4)
    assert budget._used >= len(b"".join(reply.chunks[:2]))
    await client.reply()
    await world.settle()
    assert budget._used == 0
    client.leave()


async def test_without_room_on_the_disk_the_answer_is_given_and_its_repeat_is_told(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world = await open_world()
    monkeypatch.setattr(Answers, "write", full)
    assert (await world.ask("key-1")).status == 200
    await world.settle()
    reply = await world.ask("key-1")
    assert (reply.status, reply.error["code"]) == (409, "answer_not_stored")
    assert (world.upstream.asked, world.counted("not_kept")) == (1, 1)


async def test_where_keys_cannot_be_remembered_requests_run_and_say_so(open_world: Open, tmp_path: Path) -> None:
    world = await open_world()
    world.folder.touch()  # a file where the folder should be
    for _ in range(2):
        reply = await world.ask("key-1")
        assert reply.status == 200
        assert reply.header("x-fastpath-idempotency") == "none"
    assert (world.upstream.asked, world.counted("unprotected")) == (2, 2)
    world.folder.unlink()
    shift(world).passed = 11.0  # and it is tried again
    assert (await world.ask("key-1")).header("x-fastpath-idempotency") is None


async def test_more_keys_than_there_is_room_for_run_unprotected(open_world: Open) -> None:
    world = await open_world(idempotency=Idempotency(keys=64))
    replies = [await world.ask(f"key-{i}") for i in range(70)]
    assert {reply.status for reply in replies} == {200}
    assert [reply.header("x-fastpath-idempotency") for reply in replies].count("none") == 6
    await world.settle()
    assert (await world.ask("key-0")).header("idempotent-replayed") == "true"


async def test_switched_off_it_is_not_looked_at(open_world: Open) -> None:
    world = await open_world(idempotency=Idempotency(enabled=False))
    for _ in range(2):
        assert (await world.ask("key-1")).header("idempotent-replayed") is None
    assert world.upstream.asked == 2
    assert not world.folder.exists()


# -- damage


async def test_a_damaged_answer_is_never_given(open_world: Open) -> None:
    world = await open_world()
    await world.ask("key-1")
    await world.settle()
    (path,) = world.folder.glob("*.answers")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    reply = await world.ask("key-1")
    assert (reply.status, reply.error["code"]) == (409, "answer_not_stored")
    assert world.upstream.asked == 1


async def test_answers_that_were_exchanged_are_not_given(open_world: Open) -> None:
    world = await open_world()
    for key, caller in (("key-1", "ann"), ("key-2", "cat")):
        await world.ask(key, caller=caller)
        await world.settle()
    (path,) = world.folder.glob("*.answers")
    data = path.read_bytes()
    half = len(data) // 2
    assert len(data) == 2 * half
    path.write_bytes(data[half:] + data[:half])
    for key, caller in (("key-1", "ann"), ("key-2", "cat")):
        assert (await world.ask(key, caller=caller)).status == 409


async def test_a_damaged_key_is_a_miss(open_world: Open) -> None:
    world = await open_world()
    await world.ask("key-1")
    await world.settle()
    (path,) = world.folder.glob("keys-*")
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        table = file.read(size - 4096)
        file.seek(4096)
        file.write(bytes(byte ^ 0x55 if byte else 0 for byte in table))
    assert (await world.ask("key-1")).status == 200
    assert world.upstream.asked == 2


# -- time


async def test_a_key_is_forgotten_after_a_day_of_running_and_not_by_a_jump(open_world: Open) -> None:
    world = await open_world()
    clock = shift(world)
    await world.ask("key-1")
    await world.settle()
    for jump in (-90_000.0, 90_000.0, 400 * 86_400.0):
        clock.jumped = jump
        assert (await world.ask("key-1")).header("idempotent-replayed") == "true"
    clock.passed = 86_401.0
    assert (await world.ask("key-1", text="else")).status == 200
    assert world.upstream.asked == 2


async def test_an_answer_is_there_after_a_restart(open_world: Open) -> None:
    world = await open_world()
    first = await world.ask("key-1")
    await store_of(world).close()  # while the answer is being written
    again = await open_world(tokens=world.tokens, upstream=world.upstream)
    reply = await again.ask("key-1")
    assert reply.body == first.body
    assert world.upstream.asked == 1


# -- limits and bills


async def test_a_repeat_uses_up_no_limit_and_a_refused_request_takes_no_key(open_world: Open) -> None:
    world = await open_world(limits=(Limit(count="requests", most=2, per="hour"),))
    assert (await world.ask("key-1")).status == 200
    await world.settle()
    for _ in range(5):
        assert (await world.ask("key-1")).header("idempotent-replayed") == "true"
    assert (await world.ask("key-1", text="else")).status == 409
    assert (await world.ask("key-2")).status == 200
    refused = await world.ask("key-3")
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert (await world.ask("key-3")).status == 429  # and not: in progress
    assert world.upstream.asked == 2


async def test_a_place_is_free_again_when_the_finished_request_of_a_caller_that_left_ends(open_world: Open) -> None:
    world = await open_world(limits=(Limit(count="concurrency", most=1),))
    client = await world.served.open()
    client.send(world.request("key-1", {"rate": 100}, stream=True, max_tokens=10))
    await client.events(2)
    client.leave("rst")
    await world.settle()
    assert (await world.ask("key-2")).status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_many_repeats_are_charged_once(open_world: Open, tmp_path: Path, stream: bool) -> None:
    world = await open_world()
    outbox = OutboxWriter(tmp_path / "outbox", SystemClock())
    world.served.gateway.app._runtime.books = Books(outbox)
    await asyncio.gather(*(world.ask("key-1", {"ttft": 0.05}, stream=stream) for _ in range(16)))
    await world.settle()
    await world.ask("key-1", {"ttft": 0.05}, stream=stream)
    outbox.close()
    facts = [decode(payload) for payload in payloads(OutboxReader(tmp_path / "outbox").read(10_000))]
    assert len([fact for fact in facts if isinstance(fact, Intent)]) == 1
    ends = [fact for fact in facts if isinstance(fact, End)]
    assert len(ends) == 17
    assert len([end for end in ends if end.attempts]) == 1
    assert {end.outcome for end in ends} <= {"complete", "replayed", "refused"}
    assert [end.outcome for end in ends].count("complete") == 1


async def test_a_request_to_be_stored_that_may_have_been_is_not_run_again(open_world: Open) -> None:
    world = await open_world()
    fault = {"die": "pre"}
    assert (await world.ask("key-1", fault, store=True)).status == 502
    reply = await world.ask("key-1", fault, store=True)
    assert (reply.status, reply.error["code"]) == (409, "answer_not_stored")
    assert world.upstream.asked == 1


async def test_a_stalled_reader_with_a_key_is_cut_and_the_answer_is_kept(open_world: Open) -> None:
    world = await open_world(timeouts={"client_stall": 0.3}, idempotency=Idempotency(keys=64, answer=64 << 20))
    client = await world.served.open(receive_buffer=4096)
    client.stall()
    client.send(world.request("key-1", {"tokens": 60_000}, stream=True, max_tokens=60_000))
    await world.served.records.wait(1)
    await world.settle()
    client.leave("rst")
    reply = await world.ask("key-1", {"tokens": 60_000}, stream=True, max_tokens=60_000)
    assert reply.header("idempotent-replayed") == "true"
    assert reply.done == 1
    assert world.upstream.asked == 1
