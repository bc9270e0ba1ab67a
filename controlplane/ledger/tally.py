"""Adds up by whose balances it changes. Owns the sums of a batch; `balances` writes them. Pure. Compiled, see the
.pxd.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import astuple

from controlplane.ledger.posting import Line
from controlplane.ledger.tables import Level
from fastpath.outbox.facts import Payer

_LEVELS = tuple(int(level) for level in (Level.TENANT, Level.TEAM, Level.USER, Level.KEY))

Key = tuple[str, int, str, str, int]  # tenant, level, name, currency, quarter


class Share:
    """What one payer adds in one currency and quarter. `names`: of its tenant, team, user and key."""

    def __init__(self, payer: Payer) -> None:
        self.payer = payer  # kept: it is found by its identity
        self.names: tuple[str, str, str, str] = astuple(payer)
        self.charge = self.cost = self.requests = self.input_tokens = self.output_tokens = 0

    def add(self, charge: int, cost: int, requests: int, input_tokens: int, output_tokens: int) -> None:
        """Nano-units, requests and tokens."""
        self.charge = self.charge + charge
        self.cost = self.cost + cost
        self.requests = self.requests + requests
        self.input_tokens = self.input_tokens + input_tokens
        self.output_tokens = self.output_tokens + output_tokens


class Tally:
    """The sums of a batch. A payer is one object in most facts of one, so its texts are hashed once."""

    def __init__(self) -> None:
        self._shares: dict[tuple[str, int], dict[int, Share]] = {}
        self._currency = ""
        self._quarter = -1
        self._at: dict[int, Share] = {}

    def share_of(self, payer: Payer, currency: str, quarter: int) -> Share:
        """The one that is to be added to."""
        if quarter != self._quarter or currency != self._currency:
            self._currency, self._quarter = currency, quarter
            self._at = self._shares.setdefault((currency, quarter), {})
        share = self._at.get(id(payer))
        if share is None:
            share = self._at[id(payer)] = Share(payer)
        return share

    def rows(self) -> Sequence[tuple[str | int, ...]]:
        """The rows of `ledger_balances` that it adds, in order of key."""
        rows: dict[Key, list[int]] = {}
        for (currency, quarter), shares in self._shares.items():
            share: Share
            for share in shares.values():
                sums = [share.charge, share.cost, share.requests, share.input_tokens, share.output_tokens]
                tenant, team, user, key = share.names
                for level, name in zip(_LEVELS, ("", team, user, key), strict=True):
                    if name or level == _LEVELS[0]:
                        _add_row(rows, (tenant, level, name, currency, quarter), sums)
        return [(*row, *rows[row]) for row in sorted(rows)]


def tally(lines: Iterable[Line]) -> Sequence[tuple[str | int, ...]]:
    """The rows that lines add, in order of key."""
    sums = Tally()
    for line in lines:
        sums.share_of(line.payer, line.currency, line.quarter).add(*line.sums)
    return sums.rows()


def _add_row(rows: dict[Key, list[int]], row: Key, more: Sequence[int]) -> None:
    sums = rows.get(row)
    if sums is None:
        rows[row] = list(more)
    else:
        for index in range(5):
            sums[index] += more[index]
