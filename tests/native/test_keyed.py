"""BLAKE2b under one key is RFC 7693's, and hashlib's."""

import hashlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native.keyed import KeyedHash

ABC = (
    "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
)
SELF_TEST = "c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475"
EDGES = (0, 1, 127, 128, 129, 255, 256, 257, 512)


def test_the_example_of_the_rfc() -> None:
    """Appendix A."""
    assert KeyedHash(b"", 64).digest(b"abc").hex() == ABC


def sequence(size: int, seed: int) -> bytes:
    a, b = 0xDEAD4BAD * seed & 0xFFFFFFFF, 1
    out = bytearray()
    for _ in range(size):
        a, b = b, (a + b) & 0xFFFFFFFF
        out.append(b >> 24)
    return bytes(out)


def test_the_self_test_of_the_rfc() -> None:
    """Appendix E: digests of all sizes, with and without a key, in one digest."""
    found = b""
    for size, length in product((20, 32, 48, 64), (0, 3, 128, 129, 255, 1024)):
        data, key = sequence(length, length), sequence(size, size)
        found += KeyedHash(b"", size).digest(data) + KeyedHash(key, size).digest(data)
    assert KeyedHash(b"", 32).digest(found).hex() == SELF_TEST


@given(key=st.binary(max_size=64), size=st.integers(1, 64), data=st.binary(max_size=600))
def test_it_is_hashlibs(key: bytes, size: int, data: bytes) -> None:
    assert KeyedHash(key, size).digest(data) == hashlib.blake2b(data, key=key, digest_size=size).digest()


@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize("key", [b"", b"k", bytes(64)], ids=["no key", "a short one", "the longest"])
def test_it_is_hashlibs_at_the_edges_of_blocks(key: bytes, length: int) -> None:
    data, hasher = bytes(range(256)) * 2, KeyedHash(key)
    for _ in range(2):  # a hasher is not used up
        assert hasher.digest(data[:length]) == hashlib.blake2b(data[:length], key=key, digest_size=32).digest()


@pytest.mark.parametrize(("key", "size"), [(bytes(65), 32), (b"", 0), (b"", 65), (b"", -1)])
def test_what_blake2b_has_not_is_refused(key: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="BLAKE2b has no"):
        KeyedHash(key, size)


def test_a_text_is_no_input() -> None:
    with pytest.raises(TypeError):
        KeyedHash(b"k").digest("text")  # type: ignore[arg-type]  # what a careless caller does
    with pytest.raises(TypeError):
        KeyedHash("text")  # type: ignore[arg-type]  # the same
