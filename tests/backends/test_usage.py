"""Every shape in which model servers report usage, and what is made of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.usage import IMPOSSIBLE, Usage, read_usage

OPENAI = {
    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
}  # fmt: skip
RESPONSES = {
    "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15,
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5,
    "service_tier": "standard",
}  # fmt: skip
ALL = Usage(input=10, output=5, cached=4, reasoning=2)


def read(usage: Any, head: Any = None) -> Usage | None:
    return read_usage(json.dumps({"usage": usage}).encode(), head)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"choices": [], "usage": OPENAI}, ALL),
        ({"choices": [{"index": 0, "delta": {}}], "usage": OPENAI}, ALL),
        ({"object": "response", "usage": RESPONSES}, ALL),
        ({"type": "response.completed", "response": {"id": "r", "usage": RESPONSES}}, ALL),
        ({"type": "message", "usage": ANTHROPIC}, Usage(input=17, output=5, cached=4)),
        ({"type": "message_start", "message": {"usage": ANTHROPIC}}, Usage(input=17, output=5, cached=4)),
        ({"object": "list", "usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(input=8)),
        ({"usage": OPENAI | {"prompt_tokens_details": None, "completion_tokens_details": None}}, Usage(10, 5)),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, Usage()),
        ({"message": "text", "usage": OPENAI}, ALL),
        ({"usage": None}, None),
        ({"choices": []}, None),
        ({"response": {"usage": None}}, None),
        ([], None),
        ("usage", None),
    ],
)
def test_shapes(answer: Any, expected: Usage | None) -> None:
    assert read_usage(json.dumps(answer).encode()) == expected


@pytest.mark.parametrize("data", [None, b"", b"{", b"\xff", b'{"usage":{"prompt_tokens":1'])
def test_nothing_to_read(data: bytes | None) -> None:
    assert read_usage(data) is None


@pytest.mark.parametrize("lie", [-1, IMPOSSIBLE + 1, 10**9, 10**30, 1.5, "7", True, [], {}])
def test_an_impossible_count_is_zero_and_disputed(lie: Any) -> None:
    found = read(OPENAI | {"prompt_tokens": lie})
    assert found is not None
    assert (found.input, found.output, found.disputed) == (0, 5, True)


def test_counts_that_json_cannot_hold() -> None:
    for number in (b"1e999", b"9" * 5000, b"-" + b"9" * 5000):
        found = read_usage(b'{"usage":{"prompt_tokens":%b,"completion_tokens":3}}' % number)
        assert found is not None
        assert (found.input, found.disputed) == (0, True)
    assert read_usage(b'{"usage":{"prompt_tokens":NaN}}') is None


@pytest.mark.parametrize("usage", [7, "many", [1]])
def test_no_object_at_all_is_disputed(usage: Any) -> None:
    found = read(usage)
    assert found is not None
    assert found == Usage(disputed=True)


def test_a_details_lie_leaves_the_counts() -> None:
    found = read(OPENAI | {"prompt_tokens_details": {"cached_tokens": -4}})
    assert found == Usage(input=10, output=5, disputed=True)


def test_a_usage_without_counts_says_nothing() -> None:
    assert read({}) is None
    assert read({"total_tokens": 5, "cost": 0.1}) is None


def test_a_message_stream_is_read_from_both_its_ends() -> None:
    head = json.dumps({"type": "message_start", "message": {"usage": ANTHROPIC | {"output_tokens": 1}}}).encode()
    assert read({"output_tokens": 42}, head) == Usage(input=17, output=42, cached=4)
    assert read(ANTHROPIC | {"output_tokens": 42}, head) == Usage(input=17, output=42, cached=4)
    assert read({"output_tokens": -1}, head) == Usage(input=17, output=1, cached=4, disputed=True)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*OPENAI, *RESPONSES, *ANTHROPIC, "usage"]), inner),
))  # fmt: skip
def test_whatever_is_said_counts_are_possible(usage: Any) -> None:
    for answer in ({"usage": usage}, {"message": usage}, {"response": usage}):
        found = read_usage(json.dumps(answer).encode())
        if found is not None:
            assert 0 <= found.input <= 3 * IMPOSSIBLE
            assert 0 <= found.output <= IMPOSSIBLE
            assert 0 <= found.cached <= 2 * IMPOSSIBLE
