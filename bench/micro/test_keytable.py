"""The key table: a caller's key found among a thousand, with a delta over the base, and a table built.

Opening is not here: it takes about a microsecond however large a table is, of the kernel and of its twin.
"""

import hashlib
from itertools import cycle
from typing import Any

from _native import keytable as native
from _native.reference import keytable as twin
from bench.micro.conftest import Contest

PEPPER = "0123abcd"
NOW = 1_700_000_000_000


def make_rows(count: int, start: int = 0) -> list[native.Row]:
    return [
        native.Row(hashlib.blake2b(b"%d" % n, digest_size=32).digest(), n.to_bytes(16, "big"))
        for n in range(start, start + count)
    ]


def make_lookup(module: Any) -> Any:
    base = module.KeyTable.open(native.build(make_rows(1_000), PEPPER))
    return module.KeyLookup(base, module.KeyTable.open(native.build(make_rows(10, 5_000), PEPPER, base.root)))


def test_find(against_twin: Contest) -> None:
    ours, pure = make_lookup(native), make_lookup(twin)
    asked, other = (cycle([row.digest for row in make_rows(1_000)]) for _ in range(2))
    against_twin(
        "keytable look-up among 1,000", lambda: ours.find(next(asked), NOW), lambda: pure.find(next(other), NOW)
    )


def test_build(against_twin: Contest) -> None:
    rows = make_rows(1_000)
    against_twin("keytable build of 1,000", lambda: native.build(rows, PEPPER), lambda: twin.build(rows, PEPPER))
