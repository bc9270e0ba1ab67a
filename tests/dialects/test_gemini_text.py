"""Gemini's dialect as pure text: golden files both ways, streams cut anywhere, and what no honest server sends."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.call import Call
from backends.dialects.dialect import BadAnswer, Failed, Refused, StreamTranslator, Translation
from backends.dialects.gemini.dialect import Gemini
from backends.dialects.gemini.schema import narrow
from backends.dialects.usage import read_usage
from tests.dialects.exchange import Case, cases, cuts, golden, hostile, play

CREATED, IDENT = 1_790_000_000, "0123abcd"


def begin(body: Any, path: str = "/chat/completions") -> Translation:
    return Gemini().begin(Call("POST", path, b"x-request-id: req_1\r\n", json.dumps(body).encode()), CREATED, IDENT)


def stream_of(**more: Any) -> StreamTranslator:
    asked = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    return begin(asked | {"stream_options": {"include_usage": True}} | more).stream()


@pytest.mark.parametrize("case", cases("gemini"), ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    golden(case, begin)


@given(at=cuts())
@pytest.mark.parametrize("case", [case for case in cases("gemini") if case.streamed], ids=lambda case: case.name)
def test_a_stream_says_the_same_however_it_is_cut(case: Case, at: list[int]) -> None:
    body = case.upstream
    assert play(begin(case.request).stream(), body, at) == play(begin(case.request).stream(), body, [])


@given(data=hostile())
def test_whatever_comes_is_an_answer_or_a_clean_error(data: bytes) -> None:
    translation = begin({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]})
    try:
        translation.answer(data)
    except (BadAnswer, Failed):
        pass
    status, told = translation.error(400, data)
    assert 400 <= status < 600
    assert msgspec.json.decode(told)["error"]["message"]
    told, complete = play(stream_of(), b"data: " + data + b"\n\n", [])
    assert complete or b"[DONE]" not in told


@given(events=st.lists(hostile(), max_size=6), at=cuts())
def test_a_stream_of_anything_says_the_same_however_it_is_cut(events: list[bytes], at: list[int]) -> None:
    good = json.dumps({"candidates": [{"content": {"parts": [{"text": "é🙂"}]}}]}, ensure_ascii=False).encode()
    body = b"".join(b"data: " + data.replace(b"\n", b"").replace(b"\r", b"") + b"\n\n" for data in [good, *events])
    assert play(stream_of(), body, at) == play(stream_of(), body, [])


SAID = {"content": {"parts": [{"text": "a"}]}}
STOP = {"finishReason": "STOP"}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [{"candidates": [SAID]}],
        [{"candidates": [SAID | STOP, {"index": 1}]}],
        [{"candidates": [SAID | STOP]}, {"candidates": [SAID]}],
        [{"candidates": [SAID | STOP]}, {"error": {"code": 500, "message": "it broke"}}],
        [{"error": {"code": 500, "message": "it broke"}}, {"candidates": [SAID | STOP]}],
        [{"candidates": [SAID | {"finishReason": "OTHER"}]}],
        [{"candidates": [SAID | STOP]}, {"candidates": [{"finishReason": "OTHER"}]}],
        [{"usageMetadata": {"promptTokenCount": 1}}],
    ],
)
def test_a_stream_that_does_not_end_as_it_should_never_stops(events: list[Any]) -> None:
    """Its connection ends well, so nothing but the events tells."""
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    told, complete = play(stream_of(), body, [])
    assert not complete
    assert b"[DONE]" not in told
    assert b'"finish_reason":"stop"' not in told


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_answers_are_refused(depth: int) -> None:
    deep = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":' + b'{"a":' * depth
    deep += b"1" + b"}" * depth + b'}}]},"finishReason":"STOP"}]}'
    translation = begin({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]})
    if depth == 100:
        assert json.loads(translation.answer(deep))["choices"][0]["finish_reason"] == "tool_calls"
        return
    with pytest.raises(BadAnswer):
        translation.answer(deep)


@pytest.mark.parametrize(
    ("model", "path"),
    [("gemini-2.5-flash", "/models/gemini-2.5-flash"), ("models/gemini-x", "/models/gemini-x"),
     ("tunedModels/mine", "/tunedModels/mine")],
)  # fmt: skip
def test_where_a_model_stands(model: str, path: str) -> None:
    call = begin({"model": model, "messages": [{"role": "user", "content": "hi"}]}).call
    assert call.path == f"{path}:generateContent"


@pytest.mark.parametrize(
    "model", ["", "../x", "a/b", "a?key=b", "a#b", "a%2Fb", "a:b", "a b", "é", "models/../x", "a\r\nb"]
)
def test_a_name_that_would_be_another_path_is_refused(model: str) -> None:
    with pytest.raises(Refused) as caught:
        begin({"model": model, "messages": [{"role": "user", "content": "hi"}]})
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("logit_bias", {"1": 1}, "logit_bias"),
        ("some_future_field", 1, "some_future_field"),
        ("web_search_options", {}, "web_search_options"),
        ("stop", list("abcdef"), "stop"),
        ("reasoning_effort", "absurd", "reasoning_effort"),
        ("tool_choice", "required", "tool_choice"),
        ("messages", [{"role": "tool", "tool_call_id": "x", "content": "y"}], "messages[0].tool_call_id"),
        ("messages", [{"role": "function", "name": "x", "content": "y"}], "messages[0].role"),
        ("messages", [{"role": "system", "content": "y"}], "messages"),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}],
         "messages[0].content[0]"),
        ("messages", [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}],
         "messages[0].content[0]"),
        ("messages", [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
                       "function": {"name": "f", "arguments": "[]"}}]}],
         "messages[0].tool_calls[0].function.arguments"),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a"}},
         "response_format.json_schema.schema"),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a", "strict": True,
                             "schema": {"type": "string", "pattern": "a+"}}}, "response_format.json_schema.schema"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_by_name(field: str, value: Any, param: str) -> None:
    with pytest.raises(Refused) as caught:
        begin({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]} | {field: value})
    assert caught.value.param == param


@pytest.mark.parametrize(
    "field",
    [{"user": "me"}, {"metadata": {"a": "b"}}, {"store": False}, {"n": 1}, {"logprobs": False}, {"temperature": None},
     {"verbosity": "medium"}, {"service_tier": "auto"}, {"prompt_cache_key": "k"}],
)  # fmt: skip
def test_hints_and_what_asks_for_nothing_are_dropped(field: dict[str, Any]) -> None:
    plain = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}
    assert begin(plain | field).call.body == begin(plain).call.body


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}),
        ("gemini-3-pro-preview", "low", {"thinkingLevel": "LOW"}),
        ("gemini-flash-latest", "minimal", {"thinkingLevel": "MINIMAL"}),
    ],
)
def test_effort(model: str, effort: str, config: Any) -> None:
    asked = {"model": model, "messages": [{"role": "user", "content": "hi"}], "reasoning_effort": effort}
    body = json.loads(begin(asked).call.body or b"")
    assert body["generationConfig"]["thinkingConfig"] == config


def test_a_schema_is_cut_to_what_gemini_knows() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {"pattern": {"type": "string", "pattern": "a+", "default": "a"}, "kind": {"const": "x"},
                       "node": {"$ref": "#/definitions/node", "description": "d", "minLength": 1}},
        "definitions": {"node": {"type": ["string", "null"], "format": "date-time"}},
        "required": ["kind"],
        "additionalProperties": False,
    }  # fmt: skip
    assert narrow(schema, False, "tools") == {
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "kind": {"enum": ["x"]}, "node": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": ["string", "null"], "format": "date-time"}},
        "required": ["kind"],
        "additionalProperties": False,
    }
    deep: Any = {"type": "string"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    for bad in ([], {"items": 5}, {"$ref": 5}, deep):
        with pytest.raises(Refused):
            narrow(bad, False, "tools")


@pytest.mark.parametrize(
    ("counts", "prompt", "answer", "cached", "reasoning"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}, 10, 5, 0, 0),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 22},
         10, 12, 0, 7),
        ({"promptTokenCount": 10, "thoughtsTokenCount": 7, "totalTokenCount": 17}, 10, 7, 0, 7),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 1, "totalTokenCount": 11},
         10, 1, 8, 0),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 15},
         14, 1, 0, 0),
    ],
)  # fmt: skip
def test_usage_is_the_providers(counts: Any, prompt: int, answer: int, cached: int, reasoning: int) -> None:
    """Streamed and whole, as the one reading of provider's usage reads it."""
    said = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}], "usageMetadata": counts}
    body = json.dumps(said).encode()
    whole = begin({"model": "g", "messages": [{"role": "user", "content": "hi"}]}).answer(body)
    told, complete = play(stream_of(), b"data: " + body + b"\n\n", [])
    assert complete
    last = told.split(b"\n\n")[-3].removeprefix(b"data: ")
    for report in (whole, last):
        usage = read_usage(report)
        assert usage is not None
        assert (usage.prompt, usage.answer, usage.cached, usage.reasoning) == (prompt, answer, cached, reasoning)
        assert not usage.disputed


def test_impossible_usage_stays_disputed() -> None:
    said = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": -1, "candidatesTokenCount": 5}}  # fmt: skip
    usage = read_usage(
        begin({"model": "g", "messages": [{"role": "user", "content": "hi"}]}).answer(json.dumps(said).encode())
    )
    assert usage is not None
    assert usage.disputed


@pytest.mark.parametrize(
    ("status", "error", "told_status", "kind", "code"),
    [
        (400, {"status": "INVALID_ARGUMENT", "message": "bad"}, 400, "invalid_request_error", None),
        (400, {"status": "INVALID_ARGUMENT", "message": "API key not valid.",
               "details": [{"reason": "API_KEY_INVALID"}]}, 401, "authentication_error", "invalid_api_key"),
        (400, {"status": "FAILED_PRECONDITION", "message": "User location is not supported"}, 403,
         "permission_error", None),
        (400, {"status": "INVALID_ARGUMENT", "message": "The input token count (9) exceeds the maximum number of "
               "tokens allowed (8)."}, 400, "invalid_request_error", "context_length_exceeded"),
        (404, {"status": "NOT_FOUND", "message": "models/x is not found"}, 404, "invalid_request_error",
         "model_not_found"),
        (429, {"status": "RESOURCE_EXHAUSTED", "message": "quota"}, 429, "rate_limit_error", "rate_limit_exceeded"),
        (503, {"status": "UNAVAILABLE", "message": "overloaded"}, 503, "server_error", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("listed", [False, True])
def test_errors(status: int, error: Any, told_status: int, kind: str, code: str | None, listed: bool) -> None:
    body: Any = {"error": {"code": status, **error}}
    translation = begin({"model": "g", "messages": [{"role": "user", "content": "hi"}]})
    found, told = translation.error(status, json.dumps([body] if listed else body).encode())
    assert found == told_status
    assert json.loads(told)["error"] == {"message": error["message"], "type": kind, "param": None, "code": code}


@given(st.binary(max_size=200))
def test_any_bytes_make_an_error(data: bytes) -> None:
    status, told = begin({"model": "g", "messages": [{"role": "user", "content": "hi"}]}).error(404, data)
    assert (status, json.loads(told)["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize(
    "event",
    [
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}}]},
        {"candidates": [{"index": -1}]},
        {"candidates": [{"index": 10**9}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": [1]}}]}}]},
        {"candidates": 5},
        [],
    ],
)
def test_events_that_cannot_be_told_are_bad(event: Any) -> None:
    good = b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n'
    with pytest.raises(BadAnswer) as caught:
        stream_of().feed(good + b"data: " + json.dumps(event).encode() + b"\n\n" + good)
    assert caught.value.told.count(b'"content":"a"') == 1


def test_embeddings_must_be_as_many_as_texts() -> None:
    translation = begin({"model": "e", "input": ["a", "b"]}, "/embeddings")
    assert translation.call.path == "/models/e:batchEmbedContents"
    with pytest.raises(BadAnswer):
        translation.answer(b'{"embeddings":[{"values":[1]}]}')
    with pytest.raises(Refused):
        begin({"model": "e", "input": [[1, 2]]}, "/embeddings")
