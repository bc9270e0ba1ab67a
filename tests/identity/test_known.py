"""What a request asks of a key is what the key says."""

import pytest

from fastpath.identity.known import Acquaintances, Known
from fastpath.limits.desk import caller_of
from fastpath.settings import Key
from fastpath.snapshot import may_use

HASH = "b2:01234567:" + 64 * "0"
KEYS = [
    Key(name="a", hash=HASH, models=("llama",), tenant="t", insight=True),
    Key(name="b", hash=HASH),
    Key(name="c", hash=HASH, models=("*", "llama"), tenant="t", team="x", user="u", ids=("1", "2", "3", "4")),
    Key(name="d", hash="", models=(), tenant="t"),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_key_is_known_as_it_is(key: Key) -> None:
    known = Known(key)
    assert (known.key, known.name, known.tenant, known.insight) == (key, key.name, key.tenant, key.insight)
    assert known.caller == caller_of(key)
    for model in ("llama", "other", "*"):
        assert known.may_use(model) is may_use(key, model)


def test_each_key_is_met_once_and_never_taken_for_another() -> None:
    met = Acquaintances()
    many = [Key(name=f"k{number}", hash=HASH) for number in range(20_000)]
    assert all(met.of(key).key is key for key in [*many, *reversed(many)])
    again = met.of(KEYS[0])
    assert met.of(KEYS[0]) is again
    assert met.of(Key(name="a", hash=HASH, models=("other",))).models == {"other"}
