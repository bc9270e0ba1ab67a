"""Adds lines up by whose balances they change. Owns the sums of a batch; `balances` writes them. Pure. Compiled, see
the .pxd.
"""

from collections.abc import Iterable, Sequence

from controlplane.ledger.posting import Line
from controlplane.ledger.tables import Level
from fastpath.outbox.facts import Payer

_LEVELS = tuple(int(level) for level in (Level.TENANT, Level.TEAM, Level.USER, Level.KEY))

Key = tuple[str, int, str, str, int]  # tenant, level, name, currency, quarter


def tally(lines: Iterable[Line]) -> Sequence[tuple[str | int, ...]]:
    """The rows that lines add, in order of key."""
    by_payer: dict[tuple[int, str, int], tuple[Payer, list[int]]] = {}
    for line in lines:
        # By identity: a payer is one object in most lines of a batch, and its texts are hashed once. It is kept.
        key = (id(line.payer), line.currency, line.quarter)
        known = by_payer.get(key)
        if known is None:
            by_payer[key] = (line.payer, list(line.sums))
        else:
            _add(known[1], line.sums)
    rows: dict[Key, list[int]] = {}
    for (_, currency, quarter), (payer, sums) in by_payer.items():
        for level, name in zip(_LEVELS, ("", payer.team, payer.user, payer.key), strict=True):
            if name or level == _LEVELS[0]:
                _add_row(rows, (payer.tenant, level, name, currency, quarter), sums)
    return [(*row, *rows[row]) for row in sorted(rows)]


def _add_row(rows: dict[Key, list[int]], row: Key, more: Sequence[int]) -> None:
    sums = rows.get(row)
    if sums is None:
        rows[row] = list(more)
    else:
        _add(sums, more)


def _add(sums: list[int], more: Sequence[int]) -> None:
    for index in range(5):
        if more[index]:
            sums[index] += more[index]
