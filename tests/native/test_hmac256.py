"""The kernel's HMAC-SHA-256 is the standard library's, with and without the processor's instructions."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from _native import hmac256 as native
from _native.reference import hmac256 as twin


@pytest.mark.parametrize("plain", [False, True])
@given(st.binary(max_size=64), st.binary(max_size=300))
@example(b"", b"")
def test_it_is_the_standard_librarys(plain: bool, secret: bytes, message: bytes) -> None:
    assert native.Keyed(secret, plain).digest(message) == twin.Keyed(secret).digest(message)


@pytest.mark.parametrize("plain", [False, True])
def test_every_length_around_a_block(plain: bool) -> None:
    kernel, library = native.Keyed(bytes(range(32)), plain), twin.Keyed(bytes(range(32)))
    for size in range(260):
        assert kernel.digest(bytes(size)) == library.digest(bytes(size)), size


@pytest.mark.parametrize("kind", [native, twin])
def test_a_key_has_a_size(kind: Any) -> None:
    assert kind.BLOCK == 64
    with pytest.raises(ValueError, match="at most 64"):
        kind.Keyed(bytes(65))


def test_a_message_is_bytes() -> None:
    with pytest.raises(TypeError):
        native.Keyed(b"").digest(None)  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize("plain", [False, True])
@given(st.binary(max_size=32), *[st.binary(max_size=64)] * 3, st.integers(0, 32))
def test_ids_are_the_beginnings_of_digests(
    plain: bool, secret: bytes, head: bytes, first: bytes, second: bytes, size: int
) -> None:
    found = native.Keyed(secret, plain).ids(head, first, second, size)
    assert found == twin.Keyed(secret).ids(head, first, second, size)
    assert (type(found), len(found)) == (bytearray, len(head) + 2 * size)


def test_ids_of_too_much_are_refused() -> None:
    keyed = native.Keyed(b"")
    for head, first, second, size in ((bytes(65), bytes(64), b"", 16), (b"", b"", bytes(129), 16), (b"", b"", b"", 33)):
        with pytest.raises(ValueError, match="bytes"):
            keyed.ids(head, first, second, size)
    with pytest.raises(ValueError, match="32 bytes"):
        keyed.ids(b"", b"", b"", -1)
    for wrong in ((None, b"", b""), (b"", None, b""), (b"", b"", None)):
        with pytest.raises(TypeError):
            keyed.ids(*wrong, 16)
