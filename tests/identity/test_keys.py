"""Keys are found by what they are, and by nothing else."""

import hashlib
import re

import pytest

from fastpath.identity import keys
from fastpath.identity.keys import KeyTable
from fastpath.settings import Key
from fastpath.settings.token import MAX_TOKEN, KeyHasher, new_token, pepper_id

PEPPER = bytes(range(32))


@pytest.fixture
def hasher() -> KeyHasher:
    return KeyHasher(PEPPER)


def table_of(hasher: KeyHasher, *tokens: str) -> KeyTable:
    return KeyTable([Key(name=f"k{i}", hash=hasher.hash_text(t)) for i, t in enumerate(tokens)], hasher)


def test_a_new_key_has_an_id_and_a_secret_and_is_never_the_same() -> None:
    tokens = {new_token().reveal() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"fp-[0-9a-f]{8}-[0-9a-f]{64}", token) for token in tokens)


def test_a_hash_is_blake2b_keyed_with_the_pepper(hasher: KeyHasher) -> None:
    digest = hashlib.blake2b(b"token", key=PEPPER, digest_size=32).hexdigest()
    assert hasher.hash_text("token") == f"b2:{hashlib.blake2b(PEPPER).hexdigest()[:8]}:{digest}"
    assert hasher.digest(b"token") == hasher.digest(b"token") == bytes.fromhex(digest)
    assert KeyHasher(bytes(32)).digest(b"token") != hasher.digest(b"token")
    assert hasher.pepper_id == pepper_id(PEPPER)


@pytest.mark.parametrize(
    "header", [b"Bearer alpha", b"bearer alpha", b"BEARER alpha", b" Bearer  alpha ", b"\tbEaReR \t alpha\t"]
)
def test_a_key_is_found(hasher: KeyHasher, header: bytes) -> None:
    found = table_of(hasher, "beta", "alpha").find(header)
    assert found is not None
    assert found.name == "k1"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Bearer   \t",
        b"alpha",
        b"Basic alpha",
        b"Bearer alpha x",
        b"Bearer alph",
        b"Bearer alphaa",
        b"Bearer ALPHA",
        b"Bearer\talpha",
        b"Bearer,alpha",
        b"Bearer alpha\0",
        b"Bearer \xff\xfe",
        b"Bearer " + b"a" * 100_000,
    ],
)
def test_anything_else_is_nobody(hasher: KeyHasher, header: bytes | None) -> None:
    assert table_of(hasher, "alpha").find(header) is None


def test_the_longest_token_is_looked_up_and_one_more_byte_is_not(hasher: KeyHasher) -> None:
    longest, longer = "a" * MAX_TOKEN, "a" * (MAX_TOKEN + 1)
    table = table_of(hasher, longest, longer)
    assert table.find(b"Bearer " + longest.encode()) is not None
    assert table.find(b"Bearer " + longer.encode()) is None


def test_the_hash_of_nothing_lets_nobody_in(hasher: KeyHasher) -> None:
    table = table_of(hasher, "")
    assert [table.find(header) for header in (None, b"", b"Bearer", b"Bearer ")] == [None] * 4


def test_every_lookup_costs_one_digest_and_one_comparison(hasher: KeyHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(KeyHasher):
        calls = 0

        def digest(self, token: bytes) -> bytes:
            self.calls += 1
            return super().digest(token)

    counting = Counting(PEPPER)
    compared = []
    monkeypatch.setattr(keys, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    table = KeyTable([Key(name="k", hash=hasher.hash_text("alpha"))], counting)
    headers = (b"Bearer alpha", b"Bearer wrong", b"Basic x", None, b"Bearer " + b"x" * 9999)
    found = [table.find(header) is not None for header in headers]
    assert found == [True, False, False, False, False]
    assert counting.calls == len(headers)
    assert compared == [(32, 32)] * len(headers)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("b2:00000000:" + "a" * 64, "another pepper"),
        (f"b2:{pepper_id(PEPPER)}:" + "a" * 63, "malformed"),
        (f"b2:{pepper_id(PEPPER)}:" + "A" * 64, "malformed"),
        (f"b3:{pepper_id(PEPPER)}:" + "a" * 64, "malformed"),
        ("", "malformed"),
    ],
)
def test_a_hash_that_cannot_match_stops_the_start_and_names_its_key(hasher: KeyHasher, text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"key ci .*{hint}"):
        KeyTable([Key(name="ci", hash=text)], hasher)
