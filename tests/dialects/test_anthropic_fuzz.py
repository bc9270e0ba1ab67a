"""Nothing outside is trusted: whatever comes in, a translation ends in its own errors or in JSON that can be read."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.dialects.anthropic.dialect import Anthropic
from backends.dialects.anthropic.request import CARRIED, write_request
from backends.dialects.dialect import BadAnswer, Failed, Refused
from tests.dialects.golden import begin, chunks_of

TEXT = st.one_of(
    st.text(max_size=8), st.sampled_from(["\ud800", "tool_use", "text", "data:image/png;base64,aGk=", "{}"])
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), TEXT)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "developer", "function", "?"])
KEYS = st.sampled_from(
    [
        "type", "text", "id", "name", "function", "arguments", "parameters", "image_url", "url", "content",
        "json_schema", "schema", "input", "thinking", "partial_json", "stop_reason", "usage", "delta", "index",
        "message", "content_block", "error", "output_tokens", "input_tokens",
    ]
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
MESSAGES = st.lists(
    st.builds(
        lambda role, more: {"role": role} | more,
        ROLES,
        st.dictionaries(
            st.sampled_from(["content", "tool_calls", "tool_call_id", "refusal", "audio"]), VALUES, max_size=3
        ),
    ),
    max_size=4,
)
TYPES = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
     "message_stop", "error", "ping", "new", ""]
)  # fmt: skip
EVENTS = st.lists(
    st.builds(lambda kind, more: more | {"type": kind}, TYPES, st.dictionaries(KEYS, VALUES, max_size=4)), max_size=6
)
ANTHROPIC = Anthropic()


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(CARRIED)), VALUES, max_size=3), MESSAGES)
def test_any_request_is_written_or_refused(fields: dict[str, Any], messages: Any) -> None:
    with suppress(Refused):
        body, _ = write_request(json.dumps(fields | {"model": "m", "messages": messages}).encode(), 0)
        assert json.loads(body)["max_tokens"] == 4096


@settings(max_examples=300)
@given(EVENTS, st.booleans())
def test_any_stream_is_told_or_bad(events: list[dict[str, Any]], begun: bool) -> None:
    chat = {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    reader = begin(ANTHROPIC, chat).stream()
    said = ([{"type": "message_start", "message": {}}] if begun else []) + events
    try:
        told = reader.feed(b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in said)) + reader.end()
    except BadAnswer as error:
        told = error.told
        assert not reader.complete
    chunks = chunks_of(told)
    assert ("[DONE]" in chunks) == reader.complete


@settings(max_examples=200)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_whole_answer_is_told_or_bad(said: dict[str, Any]) -> None:
    translation = begin(ANTHROPIC, {"model": "m", "messages": []})
    for body in (said, said | {"type": "message", "stop_reason": "end_turn"}):
        try:
            told = translation.answer(json.dumps(body).encode())
        except (BadAnswer, Failed):
            continue
        assert json.loads(told)["choices"]
    assert json.loads(translation.error(400, json.dumps(said).encode())[1])["error"]["message"]
