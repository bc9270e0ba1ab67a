"""The Anthropic dialect and rerank, which the OpenAI client does not speak."""

import json

import jsonschema
import pytest

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BODY = {"model": "mock-model", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
TOOL = {"name": "weather", "input_schema": SCHEMA}


def events_of(reply):
    """(event name, data) of every event."""
    parts = [event.split(b"\n") for event in reply.body.split(b"\n\n") if event]
    return [(lines[0].removeprefix(b"event: ").decode(), json.loads(lines[1][6:])) for lines in parts]


async def test_message(mock):
    answer = (await mock.fetch(BODY, "/v1/messages")).json
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    assert answer["usage"] == {"input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                               "output_tokens": 4}  # fmt: skip


async def test_a_streamed_message_says_what_the_whole_one_says(mock):
    whole = (await mock.fetch(BODY, "/v1/messages")).json
    events = events_of(await mock.fetch(BODY | {"stream": True}, "/v1/messages"))
    names = [name for name, _ in events]
    assert names == [data["type"] for _, data in events]
    assert names == ["message_start", "content_block_start", "ping", *["content_block_delta"] * 4,
                     "content_block_stop", "message_delta", "message_stop"]  # fmt: skip
    text = "".join(data["delta"]["text"] for name, data in events if name == "content_block_delta")
    assert text == whole["content"][0]["text"]
    assert events[-2][1]["usage"] == whole["usage"]
    assert events[-2][1]["delta"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("choice", "reason"),
    [({"type": "auto"}, "tool_use"), ({"type": "tool", "name": "weather"}, "tool_use"), ({"type": "none"}, "end_turn")],
)
async def test_tools(mock, choice, reason):
    body = BODY | {"tools": [TOOL], "tool_choice": choice}
    answer = (await mock.fetch(body, "/v1/messages")).json
    assert answer["stop_reason"] == reason
    if reason == "tool_use":
        block = answer["content"][0]
        jsonschema.validate(block["input"], SCHEMA)
        events = events_of(await mock.fetch(body | {"stream": True}, "/v1/messages"))
        joined = "".join(data["delta"]["partial_json"] for name, data in events if name == "content_block_delta")
        assert json.loads(joined) == block["input"]


async def test_a_tool_result_is_answered_with_text(mock):
    result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]
    body = BODY | {"tools": [TOOL], "messages": [{"role": "user", "content": result}]}
    assert (await mock.fetch(body, "/v1/messages")).json["stop_reason"] == "end_turn"


async def test_count_tokens_agrees_with_usage(mock):
    counted = (await mock.fetch(BODY, "/v1/messages/count_tokens")).json
    assert counted == {"input_tokens": (await mock.fetch(BODY, "/v1/messages")).json["usage"]["input_tokens"]}


async def test_cached_tokens_are_not_input_tokens(start):
    mock = await start(prefix_cache=True, tokens=1)
    body = BODY | {"system": "be kind " * 100}
    cold = (await mock.fetch(body, "/v1/messages")).json["usage"]
    warm = (await mock.fetch(body, "/v1/messages")).json["usage"]
    assert cold["cache_read_input_tokens"] == 0
    assert warm["cache_read_input_tokens"] > 150
    assert warm["input_tokens"] + warm["cache_read_input_tokens"] == cold["input_tokens"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (BODY | {"model": "other"}, 404, "not_found_error"),
        ({"model": "mock-model", "messages": []}, 400, "invalid_request_error"),
        (b"{", 400, "invalid_request_error"),
    ],
)
async def test_errors_have_the_anthropic_shape(mock, body, status, kind):
    reply = await mock.fetch(body, "/v1/messages")
    assert (reply.status, reply.json["type"], reply.json["error"]["type"]) == (status, "error", kind)


async def test_rerank(mock):
    body = {"model": "mock-model", "query": "red fox", "documents": ["a cow", {"text": "the red fox"}, "one fox"]}
    answer = (await mock.fetch(body, "/v1/rerank")).json
    assert [result["index"] for result in answer["results"]] == [1, 2, 0]
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert len((await mock.fetch(body | {"top_n": 1}, "/v1/rerank")).json["results"]) == 1
