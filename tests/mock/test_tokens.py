"""Token counts and texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.mock.forms import parse_form
from backends.mock.tokens import WORDS, compose, count_tokens, digest, slice_text, stop_at


def test_every_word_is_one_token():
    assert {len(word.encode()) for word in WORDS} == {4}
    assert any(len(char.encode()) == size for size in (2, 3, 4) for word in WORDS for char in word)


@given(seed=st.binary(), count=st.integers(0, 300))
def test_a_text_has_as_many_tokens_as_pieces(seed, count):
    pieces = compose(seed, count)
    assert len(pieces) == count == count_tokens("".join(pieces).encode())
    assert pieces == compose(seed, count)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_slices_are_tokens(text):
    assert "".join(slice_text(text)) == text
    assert len(slice_text(text)) == count_tokens(text.encode())


@pytest.mark.parametrize(
    ("stops", "kept", "found"),
    [((), "the sun sea", False), (("sun",), "the ", True), (("x", " s"), "the", True), (("the",), "", True)],
)
def test_stop_at(stops, kept, found):
    pieces, stopped = stop_at(["the", " sun", " sea"], stops)
    assert ("".join(pieces), stopped) == (kept, found)


def test_digest_keeps_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(1, "1") == digest("1", 1)


@given(st.binary(max_size=200))
def test_form_files_come_through_whole(data):
    if b"\r\n--edge" in b"\r\n" + data:
        return
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a b.wav"\r\n\r\n'
    form = parse_form('multipart/form-data; boundary="edge"', head + data + b"\r\n--edge--\r\n")
    assert [(file.name, file.filename, file.data) for file in form.files] == [("file", "a b.wav", data)]
