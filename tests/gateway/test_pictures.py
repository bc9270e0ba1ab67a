"""Pictures are billed by the piece, as many as came and as were held, whatever else an answer says of itself."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastpath.settings import Endpoint, Key, Model, ModelClamp, ModelPrice
from fastpath.settings.pepper import make_pepper
from fastpath.settings.tenancy import Budget, Limit
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, post
from loadtest.rig.bench import Served, make_settings
from tests.gateway.forms import BY_PIECE, FILE, MODEL, PICTURES, clamped, form, number, pictures, request

GENERATIONS = "/v1/images/generations"
PIECE = 40_000_000  # nano
BOTH = ModelPrice(input=1.0, output=2.0, image=0.04)
USAGES: dict[str, Any] = {
    "none": None,
    "chat's": {"prompt_tokens": 120, "completion_tokens": 5, "total_tokens": 125},
    "the prompt's alone": {"prompt_tokens": 120, "completion_tokens": 0, "total_tokens": 120},
    "images'": {"input_tokens": 120, "output_tokens": 5, "total_tokens": 125},
    "one that cannot be": {"prompt_tokens": -1, "completion_tokens": 5},
}


def answer(count: int, usage: Any) -> bytes:
    return pictures(count) if usage is None else pictures(count, usage=usage)


async def ask(served: Any, body: bytes) -> Any:
    """What its record says."""
    before = len(served.records.all)
    assert (await served.ask(body)).status == 200
    return (await served.records.wait(before + 1))[-1]


async def limited(
    bench: Bench, url: str, folder: Path, clamp: ModelClamp | None = None, **key: Any
) -> tuple[Served, str]:
    """A gateway and the key of the only caller that it knows."""
    token = new_token().reveal()
    hash = KeyHasher(make_pepper(folder / "state")).hash_text(token)
    model = Model(name="llama", endpoints=(Endpoint(url=url, tier="L1"),), price=BY_PIECE, clamp=clamp)
    keys = (Key(name="k", hash=hash, **key),)
    return await bench.serve(make_settings([model], keys=keys, state_dir=str(folder / "state"))), token


@pytest.mark.parametrize("usage", USAGES.values(), ids=list(USAGES))
async def test_they_are_billed_whatever_the_usage_says(bench: Bench, raw: Any, quiet: Any, usage: Any) -> None:
    raw.answer = answer(2, usage)
    served = await clamped(bench, raw.url)
    for body in (request(form(MODEL, FILE), PICTURES), post({"model": "llama", "prompt": "a", "n": 2}, GENERATIONS)):
        record = await ask(served, body)
        assert (record.cost_nano, record.usage.billable().images) == (2 * PIECE, 2)
    await quiet(served).wait()


async def test_tokens_that_a_form_used_are_billed_beside_its_pictures(bench: Bench, raw: Any, quiet: Any) -> None:
    raw.answer = answer(2, USAGES["chat's"])
    served = await clamped(bench, raw.url, BOTH)
    record = await ask(served, request(form(MODEL, FILE), PICTURES))
    assert record.cost_nano == 2 * PIECE + 120 * 1_000 + 5 * 2_000
    assert (record.input_tokens, record.output_tokens, record.disputed) == (120, 5, False)
    await quiet(served).wait()


@pytest.mark.parametrize("count", [1, 10])
async def test_pictures_may_be_billed_by_the_token(bench: Bench, raw: Any, quiet: Any, count: int) -> None:
    """Some thousands each."""
    raw.answer = answer(count, {"input_tokens": 50, "output_tokens": 6_240 * count})
    served = await clamped(bench, raw.url, ModelPrice(input=5.0, output=40.0))
    for body in (
        request(form(MODEL, FILE), PICTURES),
        post({"model": "llama", "prompt": "a", "n": count}, GENERATIONS),
    ):
        record = await ask(served, body)
        assert (record.output_tokens, record.disputed) == (6_240 * count, False)
        assert record.cost_nano == 50 * 5_000 + 6_240 * count * 40_000
    await quiet(served).wait()


async def test_a_limit_on_tokens_counts_those_of_pictures_once_they_are_there(
    bench: Bench, raw: Any, quiet: Any, tmp_path: Path
) -> None:
    """What they might be is more than many a limit gives in a minute."""
    raw.answer = answer(1, {"input_tokens": 0, "output_tokens": 900})
    served, token = await limited(
        bench, raw.url, tmp_path, limits=(Limit(count="tokens", most=1_000, per="hour"),), clamp=ModelClamp(n=1)
    )
    status = []
    for _ in range(3):
        reply = await served.ask(post({"model": "llama", "prompt": "a", "n": 2}, GENERATIONS, key=token))
        status.append(reply.status)
    assert status == [200, 200, 429]
    await quiet(served).wait()


@pytest.mark.parametrize(("asked", "came", "billed"), [(2, 5, 2), (3, 2, 2)])
async def test_those_of_a_stream_are_too(
    bench: Bench, raw: Any, quiet: Any, asked: int, came: int, billed: int
) -> None:
    """Some of its events are pictures that are not done."""
    usage = {"input_tokens": 9, "output_tokens": 0, "total_tokens": 9}
    events = [{"type": "image_generation.partial_image", "b64_json": "AA=="}] * (came - 1)
    last = {"type": "image_generation.completed", "b64_json": "AAAA", "usage": usage}
    stream = b"".join([b"data: " + msgspec.json.encode(event) + b"\n\n" for event in [*events, last]])
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
    raw.answer = head % len(stream) + stream
    served = await clamped(bench, raw.url)
    record = await ask(served, post({"model": "llama", "prompt": "a", "n": asked, "stream": True}, GENERATIONS))
    assert record.cost_nano == billed * PIECE
    await quiet(served).wait()


@pytest.mark.parametrize(
    ("asked", "came", "billed"),
    [(None, 10, 10), (None, 12, 10), (b"2", 10, 10), (b"12", 12, 12), (b"12", 14, 12), (b"many", 11, 10)],
)
async def test_as_many_are_held_as_are_asked_for_and_more_are_disputed(
    bench: Bench, raw: Any, quiet: Any, asked: bytes | None, came: int, billed: int
) -> None:
    served = await clamped(bench, raw.url)
    parts = (MODEL, FILE) if asked is None else (MODEL, number(asked), FILE)
    for usage in (None, USAGES["chat's"]):
        raw.answer = answer(came, usage)
        record = await ask(served, request(form(*parts), PICTURES))
        assert (record.cost_nano, record.disputed) == (billed * PIECE, came > billed)
    await quiet(served).wait()


async def test_a_budget_that_holds_ten_refuses_twelve(bench: Bench, raw: Any, quiet: Any, tmp_path: Path) -> None:
    raw.answer = pictures(1)
    served, token = await limited(bench, raw.url, tmp_path, budgets=(Budget(amount=0.41, period="month"),))
    status = []
    for asked in (b"12", b"11", b"9" * 18, b"10"):
        reply = await served.ask(request(form(MODEL, number(asked), FILE), PICTURES, key=token))
        status.append(reply.status)
    for asked in (11, 10**18 - 1):
        reply = await served.ask(post({"model": "llama", "prompt": "a", "n": asked}, GENERATIONS, key=token))
        status.append(reply.status)
    assert status == [429, 429, 429, 200, 429, 429]
    assert len(raw.requests) == 1
    await quiet(served).wait()


async def test_more_than_are_held_are_not_asked_for_behind_the_file(bench: Bench, raw: Any, quiet: Any) -> None:
    """They are held when the form is sent on, which begins before it is here."""
    served = await clamped(bench, raw.url)
    body = form(MODEL, FILE, number(b"11"))
    client = await served.open()
    client.send(request(body[:150], PICTURES, length=len(body)))
    await raw.until(lambda: raw.peers and b"llama" in raw.peers[0].received)
    await client.push(body[150:])
    reply = await client.reply()
    assert (reply.status, reply.error["param"]) == (400, "n")
    assert "more than 10" in reply.error["message"]
    assert "before the file" in reply.error["message"]
    assert raw.requests == [], "the model server had it whole"
    await quiet(served).wait()
    client.leave()
