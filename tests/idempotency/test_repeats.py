"""What a caller that repeats a request under its Idempotency-Key gets, through both doors."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from loadtest.rig import Reply
from loadtest.rig.conversation import PATIENCE, Conversation

Open = Callable[..., Awaitable[Any]]
CHANGING = ("x-request-id", "date", "x-fastpath-cost", "idempotent-replayed", "x-fastpath-first-request-id")


def lasting(reply: Reply) -> list[tuple[str, str]]:
    """The fields that an answer has whenever it is given."""
    return sorted(field for field in reply.headers if field[0] not in CHANGING)


async def test_a_repeat_gets_the_same_answer_and_costs_nothing(open_world: Open) -> None:
    world = await open_world()
    first = await world.ask("key-1")
    await world.settle()
    second = await world.ask("key-1")
    assert (first.status, second.status) == (200, 200)
    assert second.body == first.body
    assert lasting(second) == lasting(first)
    assert first.header("idempotent-replayed") is None
    assert second.header("idempotent-replayed") == "true"
    assert second.header("x-fastpath-first-request-id") == first.header("x-request-id") != second.header("x-request-id")
    assert world.upstream.asked == 1
    record = await world.record()
    assert second.header("x-fastpath-cost") == "0"
    assert (record.outcome, record.attempts, record.cost_nano, record.output_tokens) == ("replayed", 0, 0, None)


async def test_a_streamed_answer_is_given_again_byte_by_byte(open_world: Open) -> None:
    world = await open_world()
    first = await world.ask("key-1", stream=True)
    await world.settle()
    second = await world.ask("key-1", stream=True)
    assert first.done == second.done == 1
    assert second.body == first.body
    assert lasting(second) == lasting(first)
    assert world.upstream.asked == 1


async def test_without_the_header_every_request_runs(open_world: Open) -> None:
    world = await open_world()
    assert [(await world.ask(None)).status for _ in range(3)] == [200, 200, 200]
    assert world.upstream.asked == 3
    assert not world.folder.exists()


@pytest.mark.parametrize("change", [{"text": "else"}, {"path": "/v1/completions", "prompt": "x"}], ids=["body", "path"])
async def test_another_request_under_the_key_is_a_conflict(open_world: Open, change: dict[str, Any]) -> None:
    world = await open_world()
    assert (await world.ask("key-1", prompt="x")).status == 200
    await world.settle()
    reply = await world.ask("key-1", **{"prompt": "x"} | change)
    assert (reply.status, reply.error["code"]) == (409, "idempotency_conflict")
    assert reply.header("x-should-retry") == "false"
    assert world.upstream.asked == 1


@pytest.mark.parametrize("caller", ["bob", "cat", "robot"])
async def test_the_key_of_another_caller_is_another_key(open_world: Open, caller: str) -> None:
    world = await open_world()
    await world.ask("key-1")
    await world.settle()
    reply = await world.ask("key-1", caller=caller, text="else")
    assert reply.status == 200
    assert reply.header("idempotent-replayed") is None
    again = await world.ask("key-1", caller=caller)
    assert (again.status, again.error["code"]) == (409, "idempotency_conflict")  # by its own request, not ann's
    assert world.upstream.asked == 2


async def test_a_key_that_is_taken_away_while_the_body_comes_gets_no_answer_again(open_world: Open) -> None:
    world = await open_world()
    await world.ask("key-1")
    await world.settle()
    client, request, app = await world.served.open(), world.request("key-1"), world.served.gateway.app
    client.send(request[:-5])
    async with asyncio.timeout(PATIENCE):
        while not app._door.expecting:
            await asyncio.sleep(0.001)
    settings = world.served.gateway.settings
    app.reload(replace(settings, keys=tuple(key for key in settings.keys if key.name != "ann")))
    await client.push(request[-5:])
    reply = await client.reply()
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert reply.header("idempotent-replayed") is None
    client.leave()


async def test_two_keys_of_one_user_are_one_caller(open_world: Open) -> None:
    world = await open_world()
    first = await world.ask("key-1")
    await world.settle()
    assert (await world.ask("key-1", caller="ann-2")).body == first.body
    assert world.upstream.asked == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_of_many_at_once_one_runs(open_world: Open, stream: bool) -> None:
    world = await open_world()
    replies = await asyncio.gather(*(world.ask("key-1", {"ttft": 0.1}, stream=stream) for _ in range(64)))
    assert world.upstream.asked == 1
    ran = [reply for reply in replies if reply.status == 200]
    told = [reply for reply in replies if reply.status == 409]
    assert len(ran) + len(told) == 64
    assert {reply.body for reply in ran} == {ran[0].body}
    assert {reply.error["code"] for reply in told} <= {"in_progress"}
    assert all(int(reply.header("retry-after") or 0) >= 1 for reply in told)
    await world.settle()
    assert (await world.ask("key-1", {"ttft": 0.1}, stream=stream)).body == ran[0].body
    assert world.upstream.asked == 1


async def test_another_request_while_the_first_runs_is_a_conflict(open_world: Open) -> None:
    world = await open_world()
    await world.ask("warm")
    first = asyncio.create_task(world.ask("key-1", {"ttft": 0.2}))
    while world.upstream.asked < 2:
        await asyncio.sleep(0.001)
    reply = await world.ask("key-1", text="else")
    assert (reply.status, reply.error["code"]) == (409, "idempotency_conflict")
    assert (await first).status == 200


async def test_a_refusal_of_the_model_server_is_given_again(open_world: Open) -> None:
    world = await open_world()
    world.upstream.script(*_refusals(), times=1)
    first = await world.ask("key-1")
    await world.settle()
    second = await world.ask("key-1")
    assert first.status == second.status == 422
    assert first.body == second.body
    assert world.upstream.asked == 1


def _refusals() -> list[Any]:
    from backends.mock.fault import Fault

    return [Fault(status=422)]


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_what_failed_before_an_answer_may_be_repeated(open_world: Open, status: int) -> None:
    from backends.mock.fault import Fault

    world = await open_world()
    world.upstream.script(Fault(status=status), times=1)
    assert (await world.ask("key-1")).status in (502, 503)
    assert (await world.ask("key-1")).status == 200
    await world.settle()
    assert (await world.ask("key-1")).header("idempotent-replayed") == "true"
    assert world.upstream.asked == 2


async def test_a_bad_request_and_an_unknown_model_take_no_key(open_world: Open) -> None:
    world = await open_world()
    assert (await world.ask("key-1", n="many")).status == 400
    assert (await world.ask("key-1", model="other")).status == 404
    assert (await world.ask("key-1")).status == 200


async def test_a_stream_that_broke_is_given_again_as_it_was(open_world: Open) -> None:
    world = await open_world()
    fault = {"cut_after": 2}
    first = await world.ask("key-1", fault, stream=True)
    assert first.in_band is not None
    await world.settle()
    second = await world.ask("key-1", fault, stream=True)
    assert second.body == first.body
    assert second.header("idempotent-replayed") == "true"
    assert world.upstream.asked == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "um\xfflaut"])
async def test_a_header_that_is_no_key_is_refused(open_world: Open, key: str) -> None:
    world = await open_world()
    request = world.request(key).decode("utf-8").encode("latin-1") if key == "um\xfflaut" else world.request(key)
    reply = await world.served.ask(request)
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert world.upstream.asked == 0


async def test_two_different_keys_are_refused(open_world: Open) -> None:
    world = await open_world()
    reply = await world.ask("key-1", headers=(("Idempotency-Key", "key-2"),))
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")


async def test_a_caller_that_leaves_finds_its_answer_when_it_comes_back(open_world: Open) -> None:
    world = await open_world()
    await world.ask("warm")
    client = await world.served.open()
    client.send(world.request("key-1", {"ttft": 0.2}))
    while world.upstream.asked < 2:
        await asyncio.sleep(0.001)
    client.leave()
    await world.settle()
    reply = await world.ask("key-1", {"ttft": 0.2})
    assert reply.status == 200
    assert reply.header("idempotent-replayed") == "true"
    assert reply.json["choices"]
    assert world.upstream.asked == 2
    left, replayed = (await world.served.records.wait(3))[1:]
    assert (left.status, left.outcome) == (499, "client_left")
    assert left.cost_nano > 0 == replayed.cost_nano


async def test_a_caller_that_leaves_in_a_stream_finds_all_of_it(open_world: Open) -> None:
    world = await open_world()
    client: Conversation = await world.served.open()
    client.send(world.request("key-1", {"rate": 50, "tokens": 20}, stream=True, max_tokens=20))
    await client.events(3)
    client.leave("rst")
    await world.settle()
    reply = await world.ask("key-1", {"rate": 50, "tokens": 20}, stream=True, max_tokens=20)
    assert reply.header("idempotent-replayed") == "true"
    assert reply.done == 1
    assert len(reply.frames) >= 20
    assert world.upstream.asked == 1
    (left, _) = await world.served.records.wait(2)
    assert left.output_tokens == 20


async def test_without_a_key_a_caller_that_leaves_still_ends_the_work(open_world: Open) -> None:
    world = await open_world()
    client = await world.served.open()
    client.send(world.request(None, {"rate": 5, "tokens": 20}, stream=True, max_tokens=20))
    await client.events(2)
    client.leave("rst")
    (record,) = await world.served.records.wait(1)
    assert record.outcome == "client_left"
    assert record.events < 20
