"""Every shape in which model servers report usage, and what is made of it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.dialects import usage as module
from backends.dialects.usage import IMPOSSIBLE, Usage, read_usage, usage_of

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


counts = st.none() | st.integers(-3, 3) | st.integers(0, 2 * IMPOSSIBLE) | st.sampled_from([1.0, "7", True, [], {}])
details = st.none() | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "x"]), counts)
NAMES = ["prompt_tokens", "completion_tokens", "cache_read_input_tokens", "x"]
usages = st.builds(
    lambda flat, deep: flat | deep,
    st.dictionaries(st.sampled_from(NAMES), counts),
    st.dictionaries(st.sampled_from([f"{name}_details" for name in NAMES[:2]]), details),
)


@given(usages)
@example({"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}})
def test_the_short_way_says_what_the_long_way_says(usage: dict[str, Any]) -> None:
    raw = json.dumps(usage).encode()
    found = usage_of(raw)
    try:
        counts = module._COUNTS.decode(raw)
    except msgspec.ValidationError:
        return  # something is odd: the other tests say what then
    details, spent = counts.prompt_tokens_details, counts.completion_tokens_details
    if found is not None and counts.prompt_tokens is not None and counts.input_tokens is None:
        assert (found.input, found.output) == (counts.prompt_tokens + cache_of(counts), counts.completion_tokens or 0)
        assert found.cached - (counts.cache_read_input_tokens or 0) == ((details and details.cached_tokens) or 0)
        assert counts.output_tokens is not None or found.reasoning == ((spent and spent.reasoning_tokens) or 0)
        assert not found.disputed


def cache_of(counts: Any) -> int:
    """Tokens that Anthropic counts beside the input."""
    return int(counts.cache_read_input_tokens or 0)
