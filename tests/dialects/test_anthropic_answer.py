"""What Anthropic says, told as OpenAI would: by golden files, wherever it is cut, and when it goes wrong."""

import json
from pathlib import Path
from typing import Any

import anthropic.types
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from backends.dialects.anthropic.dialect import Anthropic
from backends.dialects.billable import read_billable
from backends.dialects.dialect import BadAnswer, Failed, StreamTranslator
from tests.dialects.golden import begin, chunks_of, events_of, files

ANTHROPIC = Anthropic(8192)
FILES = files("anthropic")
EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)
CHAT = {"model": "claude", "messages": [{"role": "user", "content": "Hello"}]}
STREAM = CHAT | {"stream": True, "stream_options": {"include_usage": True}}


def golden(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def event(name: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = golden(next(path for path in FILES if path.stem == name))["said"]
    return said


def stream(chat: dict[str, Any] = STREAM) -> StreamTranslator:
    return begin(ANTHROPIC, chat).stream()


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    case = golden(path)
    translation = begin(ANTHROPIC, case["chat"])
    assert json.loads(translation.call.body or b"") == case["sent"]
    if isinstance(case["said"], list):
        reader = translation.stream()
        assert chunks_of(reader.feed(events_of(case["said"])) + reader.end()) == case["told"]
        assert reader.complete == (case["told"][-1] == "[DONE]")
    else:
        assert json.loads(translation.answer(json.dumps(case["said"]).encode())) == case["told"]


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "unknown"], ids=lambda path: path.stem)
def test_both_clients_know_their_side(path: Path) -> None:
    case = golden(path)
    if not isinstance(case["said"], list):
        anthropic.types.Message.model_validate(case["said"])
        ChatCompletion.model_validate(case["told"])
        return
    for said in case["said"]:
        if said["type"] not in ("ping", "error"):
            EVENT.validate_python(said)
    for told in case["told"]:
        if told != "[DONE]" and "error" not in told:
            ChatCompletionChunk.model_validate(told)


@settings(max_examples=60)
@given(st.sampled_from([path for path in FILES if path.stem.endswith("stream")]), st.data())
def test_it_does_not_matter_where_a_stream_is_cut(path: Path, data: st.DataObject) -> None:
    case = golden(path)
    said = events_of(case["said"])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    reader = begin(ANTHROPIC, case["chat"]).stream()
    told = [reader.feed(said[start:end]) for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert chunks_of(b"".join(told) + reader.end()) == case["told"]


@given(st.lists(st.integers(0, 2000), max_size=4))
def test_nor_where_one_is_cut_that_goes_wrong(cuts: list[int]) -> None:
    said = events_of(event("text-stream")[:3]) + b"data: {\n\n"
    places = sorted(cut % len(said) for cut in cuts)
    reader = stream()
    pieces = [said[start:end] for start, end in zip([0, *places], [*places, len(said)], strict=True)]
    told = b"".join(reader.feed(piece) for piece in pieces[:-1])
    with pytest.raises(BadAnswer) as caught:
        reader.feed(pieces[-1])
    assert len(chunks_of(told + caught.value.told)) == 2


def test_every_byte_of_its_own() -> None:
    case = golden(next(path for path in FILES if path.stem == "tools-stream"))
    reader = begin(ANTHROPIC, case["chat"]).stream()
    told = b"".join(reader.feed(bytes([byte])) for byte in events_of(case["said"]))
    assert chunks_of(told) == case["told"]


def test_each_piece_is_told_as_soon_as_it_is_there() -> None:
    reader = stream()
    told = [len(chunks_of(reader.feed(events_of([said])))) for said in event("text-stream")]
    assert told == [0, 0, 2, 1, 0, 0, 0, 3]  # the role goes with the first words, the end with the last event


@pytest.mark.parametrize("stem", ["text", "thinking", "tools"])
def test_streamed_or_whole_the_same_is_said_and_billed(stem: str) -> None:
    whole = golden(next(path for path in FILES if path.stem == stem))["told"]
    chunks = golden(next(path for path in FILES if path.stem == f"{stem}-stream"))["told"][:-1]
    usage = [json.dumps(tree["usage"]).encode() for tree in (whole, chunks[-1])]
    assert read_billable(usage[0]) == read_billable(usage[1])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    message = whole["choices"][0]["message"]
    for name in ("content", "reasoning_content"):
        assert "".join(delta.get(name) or "" for delta in deltas) == (message.get(name) or "")
    finish = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert finish == [None] * (len(finish) - 1) + [whole["choices"][0]["finish_reason"]]


@pytest.mark.parametrize("kept", range(len(events_of(event("text-stream")).split(b"\n\n")) - 1))
def test_a_stream_that_breaks_off_is_never_complete(kept: int) -> None:
    reader = stream()
    told = reader.feed(b"".join(frame + b"\n\n" for frame in events_of(event("text-stream")).split(b"\n\n")[:kept]))
    told += reader.end()
    assert not reader.complete
    assert b"[DONE]" not in told
    assert b'"finish_reason":"' not in told


def test_the_last_event_needs_no_blank_line() -> None:
    reader = stream()
    told = reader.feed(events_of(event("text-stream")).rstrip(b"\n"))
    assert not reader.complete
    assert (told + reader.end()).endswith(b"data: [DONE]\n\n")
    assert reader.complete


START, STOP = event("text-stream")[0], event("text-stream")[-1]


@pytest.mark.parametrize(
    "said",
    [
        [START, START],
        [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}],
        [START, STOP],
        [START, {"type": "content_block_delta", "index": "0", "delta": {}}],
        [{"type": "message_start", "message": 5}],
        [{"no": "type"}],
    ],
)
def test_nonsense_is_a_bad_answer(said: list[dict[str, Any]]) -> None:
    with pytest.raises(BadAnswer):
        stream().feed(events_of([{"type": ""} | each for each in said]).replace(b'"type": "", ', b""))


@pytest.mark.parametrize(
    "said", [b"data: {\n\n", b"data: \xff\n\n", b"data: [1]\n\n", b"data: " + b"[" * 5000 + b"\n\n"]
)
def test_so_is_what_is_not_json(said: bytes) -> None:
    with pytest.raises(BadAnswer):
        stream().feed(said)


def test_nothing_follows_an_error() -> None:
    reader = stream()
    reader.feed(events_of(event("overloaded-stream")))
    assert reader.feed(events_of([STOP])) == b""
    assert not reader.complete


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"type":"message","content":[]}', b'{"type":"message","content":{}}', b"\xff"],
)
def test_a_whole_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        begin(ANTHROPIC, CHAT).answer(body)


def test_an_error_under_status_200() -> None:
    with pytest.raises(Failed) as caught:
        begin(ANTHROPIC, CHAT).answer(b'{"type":"error","error":{"type":"api_error","message":"Broken."}}')
    assert json.loads(caught.value.body)["error"]["message"] == "Broken."


@pytest.mark.parametrize(
    ("status", "kind", "message", "told", "code"),
    [
        (400, "invalid_request_error", "messages: too few", 400, "invalid_request_error"),
        (400, "invalid_request_error", "prompt is too long: 5 > 4", 400, "context_length_exceeded"),
        (400, "billing_error", "Your credit balance is too low", 403, "billing_error"),
        (404, "not_found_error", "model: claude-9", 404, "model_not_found"),
        (413, "request_too_large", "Too large", 413, "request_too_large"),
    ],
)
def test_refusals(status: int, kind: str, message: str, told: int, code: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})
    found, text = begin(ANTHROPIC, CHAT).error(status, body.encode())
    error = json.loads(text)["error"]
    assert (found, error["code"], error["message"]) == (told, code, message)
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b'{"error":5}', b"\xff", b'{"error":{"message":null}}'])
def test_any_refusal_is_an_error_that_can_be_read(body: bytes) -> None:
    status, text = begin(ANTHROPIC, CHAT).error(400, body)
    assert status == 400
    assert json.loads(text)["error"]["message"]
