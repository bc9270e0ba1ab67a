"""What a whole body says, as numbers: the kernel beside its twin, which slices and decodes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native import answers as native
from _native import jsonscan
from _native.reference import answers as twin
from _native.reference import jsonscan as scanned

PATHS = (
    ("prompt_tokens", "completion_tokens", "total_tokens", "details.cached", "given.reasoning", "details.audio", "x"),
    "cache_",
    ("input_tokens",),
)
NUMBERS, TWIN_NUMBERS = jsonscan.Numbers(*PATHS), scanned.Numbers(*PATHS)
names = st.sampled_from(["usage", "error", "choices", "type", "details", "given", "cached", "cache_write", *PATHS[0]])
leaves = st.none() | st.booleans() | st.integers(-1, 10**17) | st.text(max_size=5) | st.floats(allow_nan=False)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=6), max_leaves=12
)
space = st.sampled_from([b"", b" ", b"\n\t\r ", b"\x0b", b"\xef\xbb\xbf"])


def both(body: bytes) -> Any:
    verdict, start, end = native.read_answer(body)
    assert (start < 0) == (end < 0)
    assert twin.read_answer(body) == (verdict, body[start:end] if start >= 0 else None)
    return verdict


@given(trees, space, space)
def test_an_answer_is_what_its_twin_finds(tree: Any, before: bytes, after: bytes) -> None:
    both(before + json.dumps(tree).encode() + after)


@given(st.binary(max_size=40))
def test_noise_is_too(noise: bytes) -> None:
    both(noise)
    both(b'{"usage":' + noise + b"}")


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"choices":[]}', native.SOUND),
        (b" [1]", native.SOUND),
        (b"", native.NOT_JSON),
        (b'{"a":1', native.NOT_JSON),
        (b'{"error":{"message":"x"},"usage":{}}', native.ERROR_OBJECT),
        (b'{"error":null}', native.SOUND),
        (b' "text"', native.BARE_VALUE),
        (b"7", native.BARE_VALUE),
    ],
)
def test_verdicts(body: bytes, verdict: int) -> None:
    assert both(body) == verdict


@given(st.dictionaries(names, trees, max_size=7), st.binary(max_size=3), st.binary(max_size=3))
def test_numbers_of_a_part_are_those_of_its_slice(usage: Any, before: bytes, after: bytes) -> None:
    text = json.dumps(usage).encode()
    whole, start, end = before + text + after, len(before), len(before) + len(text)
    for shift in (0, 1, -1):
        if not 0 <= start + shift <= end <= len(whole):
            continue
        sound, *found = native.seven_numbers(NUMBERS, whole, start + shift, end)
        expected = twin.seven_numbers(TWIN_NUMBERS, whole, start + shift, end)
        assert (tuple(None if number < 0 else number for number in found) if sound else None) == expected


def test_what_is_no_part() -> None:
    for start, end in ((-1, 1), (1, 0), (0, 3), (3, 3)):
        with pytest.raises(IndexError):
            native.seven_numbers(NUMBERS, b"{}", start, end)
    with pytest.raises(TypeError):
        native.seven_numbers(jsonscan.Numbers(("a",)), b"{}", 0, 2)


def test_members_say_whether_they_are_plain() -> None:
    fields = jsonscan.Fields(("messages",), dialogue="messages")
    for body in (b'{"messages":[{"role":"u","content":"x"}]}', b'{"messages":[]}', b"{}"):
        members = fields.read(body)
        assert native.is_plain(members) is members.plain
