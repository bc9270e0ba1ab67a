"""Clamps on the wire, and usage that cannot be true (F18): what the model server is sent is what was set aside."""

import json
from typing import Any

import pytest

from backends.mock import Fault
from fastpath.settings import Endpoint, Model
from fastpath.settings.tenancy import ModelClamp, ModelPrice
from loadtest.rig import Bench, chat, post
from loadtest.rig.bench import Served, make_settings
from tests.gateway.prices import streamed, whole
from tests.gateway.test_prices import Facts

PRICE = ModelPrice(input=2, output=10)
TEMPLATE = 1_024


async def serve(bench: Bench, clamp: ModelClamp | None, *faults: Fault, **model: Any) -> tuple[Served, Any, Facts]:
    upstream = await bench.mock(tokens=40)
    if faults:
        upstream.script(*faults)
    endpoint = Endpoint(url=upstream.url, tier="L1")
    made = make_settings([Model(name="llama", endpoints=(endpoint,), clamp=clamp, **{"price": PRICE, **model})])
    served = await bench.serve(made)
    return served, upstream, Facts(served)


@pytest.fixture
def relayed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Bodies as they reach the mock."""
    from backends.mock.turn import Turn

    bodies: list[Any] = []
    run = Turn.run

    async def note(self: Turn) -> bool:
        bodies.append(json.loads(bytes(self._request.body)))
        return await run(self)

    monkeypatch.setattr(Turn, "run", note)
    return bodies


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_clamp_is_what_is_sent_told_recorded_and_set_aside(
    bench: Bench, relayed: list[Any], stream: bool
) -> None:
    served, _, facts = await serve(bench, ModelClamp(max_tokens=7, n=2, logprobs=3))
    request = chat(stream=stream, max_tokens=900, n=5, logprobs=True, top_logprobs=20, seed=4)
    reply = await served.ask(request)
    assert reply.status == 200
    (body,) = relayed
    assert (body["max_tokens"], body["n"], body["top_logprobs"], body["seed"]) == (7, 2, 3, 4)
    assert reply.header("x-fastpath-clamped") == "max_tokens=7, n=2, top_logprobs=3"
    (record,) = await served.records.wait(1)
    assert record.clamped == "max_tokens=7, n=2, top_logprobs=3"
    assert record.output_tokens == 14
    (intent,) = facts.intents
    assert intent.reserved == (record.bytes_in + TEMPLATE) * 2_000 + 2 * 7 * 10_000


async def test_a_caller_that_sets_no_limit_gets_the_clamps(bench: Bench, relayed: list[Any]) -> None:
    served, _, facts = await serve(bench, ModelClamp(max_tokens=7, limit_field="max_completion_tokens"))
    reply = await served.ask(chat(stream=True))
    assert relayed[0]["max_completion_tokens"] == 7
    assert relayed[0]["stream_options"] == {"include_usage": True}
    assert reply.header("x-fastpath-clamped") == "max_completion_tokens=7"
    assert facts.intents[0].reserved == ((await served.records.wait(1))[0].bytes_in + TEMPLATE) * 2_000 + 70_000


async def test_a_request_within_its_clamp_passes_byte_for_byte(bench: Bench, relayed: list[Any]) -> None:
    served, upstream, _ = await serve(bench, ModelClamp(max_tokens=7, n=2))
    request = chat(max_tokens=7, n=2)
    reply = await served.ask(request)
    assert reply.header("x-fastpath-clamped") is None
    assert (await served.records.wait(1))[0].clamped is None
    assert upstream.server.records[0].body_length == len(request.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("asked", "param"), [({"max_tokens": 8}, "max_tokens"), ({"max_tokens": 5, "n": 3}, "n")], ids=["tokens", "n"]
)
async def test_a_model_may_refuse_instead(bench: Bench, asked: dict[str, int], param: str) -> None:
    served, upstream, facts = await serve(bench, ModelClamp(mode="refuse", max_tokens=7, n=2))
    reply = await served.ask(chat(**asked))
    assert (reply.status, reply.error["param"]) == (400, param)
    assert "at most" in reply.error["message"]
    assert upstream.asked == len(facts.intents) == 0
    assert (await served.ask(chat(max_tokens=7))).status == 200
    assert (await served.ask(chat())).header("x-fastpath-clamped") == "max_tokens=7"


async def test_a_clamp_needs_no_price(bench: Bench, relayed: list[Any]) -> None:
    served, _, facts = await serve(bench, ModelClamp(max_tokens=7), price=None)
    await served.ask(chat(max_tokens=90))
    assert relayed[0]["max_tokens"] == 7
    assert (facts.intents[0].price, facts.intents[0].reserved) == (None, 0)


async def test_completions_are_clamped_by_their_own_names(bench: Bench, relayed: list[Any]) -> None:
    served, _, _ = await serve(bench, ModelClamp(best_of=2, logprobs=1))
    body = {"model": "llama", "prompt": "a", "n": 4, "best_of": 5, "logprobs": 4, "max_tokens": 2}
    reply = await served.ask(post(body, "/v1/completions"))
    assert reply.header("x-fastpath-clamped") == "n=2, best_of=2, logprobs=1"
    assert relayed[0] == body | {"n": 2, "best_of": 2, "logprobs": 1}


# -- F18


def answer(**usage: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": "four words of answer"}}], "usage": usage}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("shape", ["negative", "huge", "zero", "none", "null"])
async def test_f18_no_lie_costs_more_than_was_set_aside(bench: Bench, shape: Any, stream: bool) -> None:
    served, _, facts = await serve(bench, None, Fault(usage=shape))
    reply = await served.ask(chat(stream=stream, max_tokens=30))
    assert reply.status == 200
    (record,) = await served.records.wait(1)
    (intent,), (end,) = facts.intents, facts.ends
    (attempt,) = end.attempts
    assert 0 <= (record.cost_nano or 0) <= intent.reserved
    assert record.outcome == "complete"
    assert attempt.usage is not None
    assert min(attempt.usage.input, attempt.usage.output) >= 0
    assert attempt.usage.output <= 30
    assert attempt.disputed == (shape in ("negative", "huge"))
    assert attempt.estimated == (shape in ("negative", "none", "null"))
    counted = served.gateway.metrics.snapshot().counters
    assert counted.get("fastpath_usage_disputed_total", {}) == ({("llama",): 1} if attempt.disputed else {})


@pytest.mark.parametrize(
    ("usage", "billed"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 31}, (5, 30)),
        ({"prompt_tokens": 10**6, "completion_tokens": 3}, (None, 3)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}}, (5, 3)),
    ],
)
async def test_what_is_possible_and_too_much_is_capped(
    bench: Bench, usage: dict[str, Any], billed: tuple[int | None, int]
) -> None:
    served, _, facts = await serve(bench, None, whole(answer(**usage)))
    await served.ask(chat(max_tokens=30))
    (record,) = await served.records.wait(1)
    assert record.disputed
    assert (record.input_tokens, record.output_tokens) == (billed[0] or record.bytes_in + TEMPLATE, billed[1])
    assert (record.cost_nano or 0) <= facts.intents[0].reserved


async def test_without_a_price_a_lie_is_still_no_count(bench: Bench) -> None:
    served, _, _ = await serve(bench, None, whole(answer(prompt_tokens=10**9, completion_tokens=3)), price=None)
    await served.ask(chat())
    (record,) = await served.records.wait(1)
    assert (record.disputed, record.estimated, record.output_tokens) == (True, True, 3)
    assert 0 < (record.input_tokens or 0) < 100


async def test_a_silent_server_is_billed_by_the_words_that_went_by(bench: Bench) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 40
    silent = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    served, _, _ = await serve(bench, None, whole(silent))
    await served.ask(chat(text=text, max_tokens=1_000))
    (record,) = await served.records.wait(1)
    assert (record.estimated, record.disputed) == (True, False)
    assert 300 <= (record.output_tokens or 0) <= 500  # 401 by the tokenizer of new models
    assert 300 <= (record.input_tokens or 0) <= 550
    assert record.cost_nano == (record.input_tokens or 0) * 2_000 + (record.output_tokens or 0) * 10_000


async def test_a_stream_that_breaks_is_billed_by_what_was_delivered(bench: Bench) -> None:
    events = [{"choices": [{"index": 0, "delta": {"content": "a"}}]}] * 5
    served, _, _ = await serve(bench, None, streamed(*events, done=False))
    await served.ask(chat(stream=True, max_tokens=30))
    (record,) = await served.records.wait(1)
    assert (record.outcome, record.output_tokens, record.estimated) == ("broken", 5, True)
    assert record.cost_nano == (record.input_tokens or 0) * 2_000 + 5 * 10_000


async def test_what_answers_without_tokens_costs_by_the_request(bench: Bench) -> None:
    price = ModelPrice(request=0.002)
    served, _, _ = await serve(bench, None, whole({"results": []}), price=price)
    reply = await served.ask(post({"model": "llama", "input": "a"}, "/v1/moderations"))
    assert reply.status == 200
    (record,) = await served.records.wait(1)
    assert (record.cost_nano, record.estimated) == (2_000_000, False)
