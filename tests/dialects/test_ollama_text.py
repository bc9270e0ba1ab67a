"""Ollama's dialect as pure text: golden files both ways, streams cut anywhere, and what no honest server sends."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.call import Call
from backends.dialects.dialect import BadAnswer, Failed, Refused, StreamTranslator, Translation
from backends.dialects.ollama.dialect import Ollama
from backends.dialects.usage import read_usage
from tests.dialects.exchange import Case, cases, cuts, golden, hostile, play

CREATED, IDENT = 1_790_000_000, "0123abcd"
PLAIN = {"model": "qwen3:8b", "messages": [{"role": "user", "content": "hi"}]}
DONE = {"message": {"role": "assistant", "content": "x"}, "done": True, "done_reason": "stop"}


def begin(body: Any, path: str = "/chat/completions") -> Translation:
    return Ollama().begin(Call("POST", path, b"", json.dumps(body).encode()), CREATED, IDENT)


def stream() -> StreamTranslator:
    return begin(PLAIN | {"stream": True, "stream_options": {"include_usage": True}}).stream()


def lines(*trees: Any) -> bytes:
    return b"".join(json.dumps(tree).encode() + b"\n" for tree in trees)


@pytest.mark.parametrize("case", cases("ollama"), ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    golden(case, begin)


@given(at=cuts())
@pytest.mark.parametrize("case", [case for case in cases("ollama") if case.streamed], ids=lambda case: case.name)
def test_a_stream_says_the_same_however_it_is_cut(case: Case, at: list[int]) -> None:
    body = case.upstream
    assert play(begin(case.request).stream(), body, at) == play(begin(case.request).stream(), body, [])


@given(data=hostile())
def test_whatever_comes_is_an_answer_or_a_clean_error(data: bytes) -> None:
    try:
        begin(PLAIN).answer(data)
    except (BadAnswer, Failed):
        pass
    status, told = begin(PLAIN).error(400, data)
    assert status == 400
    assert msgspec.json.decode(told)["error"]["message"]
    told, complete = play(stream(), data + b"\n", [])
    assert complete or b"[DONE]" not in told


@given(events=st.lists(hostile(), max_size=6), at=cuts())
def test_a_stream_of_anything_says_the_same_however_it_is_cut(events: list[bytes], at: list[int]) -> None:
    good = json.dumps({"message": {"content": "é🙂"}}, ensure_ascii=False).encode()
    body = b"".join(data.replace(b"\n", b"") + b"\n" for data in [good, *events])
    assert play(stream(), body, at) == play(stream(), body, [])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""])
def test_the_last_line_may_lack_its_end(ending: bytes) -> None:
    told, complete = play(stream(), lines(DONE).rstrip() + ending, [])
    assert complete
    assert b'"finish_reason":"stop"' in told


@pytest.mark.parametrize(
    "trees",
    [
        [DONE | {"done": False, "done_reason": None}],
        [DONE, DONE],
        [DONE | {"done_reason": "load"}],
        [DONE | {"done_reason": None}],
        [DONE, {"error": "it broke"}],
        [{"error": "it broke"}, DONE],
        [5],
        [{"done": True, "done_reason": "stop"}],
        [DONE | {"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}],
    ],
)
def test_a_stream_that_does_not_end_as_it_should_never_stops(trees: list[Any]) -> None:
    told, complete = play(stream(), lines(*trees), [])
    assert not complete
    assert b"[DONE]" not in told
    assert b'"finish_reason":"stop"' not in told


@pytest.mark.parametrize("answer", [DONE | {"done": False}, DONE | {"done_reason": "unload"}, {"done": True}, [DONE]])
def test_an_answer_that_is_not_done_is_none(answer: Any) -> None:
    with pytest.raises(BadAnswer):
        begin(PLAIN).answer(json.dumps(answer).encode())


def test_a_line_without_an_end_is_bounded() -> None:
    assert play(stream(), b"x" * (2 << 20), [500]) == (b"", False)
    with pytest.raises(BadAnswer):
        stream().feed(b"x" * (2 << 20))


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("n", 2, "n"),
        ("logit_bias", {"1": 1}, "logit_bias"),
        ("parallel_tool_calls", False, "parallel_tool_calls"),
        ("tool_choice", "required", "tool_choice"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}, "tool_choice"),
        ("reasoning_effort", "absurd", "reasoning_effort"),
        ("messages", [{"role": "tool", "tool_call_id": "x", "content": "y"}], "messages[0].tool_call_id"),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}],
         "messages[0].content[0]"),
        ("messages", [{"role": "user", "content": [{"type": "input_audio",
                       "input_audio": {"data": "", "format": "wav"}}]}], "messages[0].content[0]"),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "a"}},
         "response_format.json_schema.schema"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_by_name(field: str, value: Any, param: str) -> None:
    with pytest.raises(Refused) as caught:
        begin(PLAIN | {field: value})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("status", "message", "kind", "code"),
    [
        (404, "model 'x' not found", "invalid_request_error", "model_not_found"),
        (400, "the input length exceeds the context length", "invalid_request_error", "context_length_exceeded"),
        (400, "does not support tools", "invalid_request_error", None),
        (503, "server busy", "server_error", None),
    ],
)
def test_errors(status: int, message: str, kind: str, code: str | None) -> None:
    found, told = begin(PLAIN).error(status, json.dumps({"error": message}).encode())
    assert found == status
    assert json.loads(told)["error"] == {"message": message, "type": kind, "param": None, "code": code}


@pytest.mark.parametrize(
    ("counts", "prompt_known", "disputed"),
    [
        ({"prompt_eval_count": 7, "eval_count": 2}, True, False),
        ({"eval_count": 2}, False, False),  # all of the prompt was in its cache, and it says nothing
        ({"prompt_eval_count": -7, "eval_count": 2}, False, True),
    ],
)
def test_usage_is_read_as_everywhere(counts: Any, prompt_known: bool, disputed: bool) -> None:
    answer = json.dumps(DONE | counts).encode()
    told, complete = play(stream(), answer + b"\n", [])
    assert complete
    for report in (begin(PLAIN).answer(answer), told.split(b"\n\n")[-3].removeprefix(b"data: ")):
        usage = read_usage(report)
        assert usage is not None
        assert (usage.answer, usage.prompt_known, usage.disputed) == (2, prompt_known, disputed)
        assert usage.prompt == (7 if prompt_known else 0)


def test_embeddings() -> None:
    translation = begin({"model": "e", "input": "a", "dimensions": 2}, "/embeddings")
    assert translation.call.path == "/embed"
    assert json.loads(translation.call.body or b"") == {
        "model": "e", "input": ["a"], "truncate": False, "dimensions": 2}  # fmt: skip
    told = json.loads(translation.answer(b'{"model":"e","embeddings":[[1,0.5]],"prompt_eval_count":3}'))
    assert told["data"] == [{"object": "embedding", "index": 0, "embedding": [1.0, 0.5]}]
    assert told["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    for bad in (b'{"embeddings":[]}', b'{"embeddings":[["a"]]}', b"{}", b""):
        with pytest.raises(BadAnswer):
            translation.answer(bad)
