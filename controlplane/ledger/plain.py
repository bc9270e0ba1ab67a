"""The short way of the plain request: one attempt, delivered, its usage told by the provider, its price known.

Owns which requests are plain and what is written for one; nearly all are. Everything else, and whatever the database
knows already, goes the long way (`fold`), which says the same of a plain request: tests hold the two together. Pure.
Compiled, see the .pxd.
"""

import msgspec
from msgspec.structs import astuple

from controlplane.ledger.dockets import Docket
from controlplane.ledger.posting import ID_SIZE, Numbering, suffix_of
from controlplane.ledger.rules import Policy
from controlplane.ledger.tables import QUARTER_MICROS
from controlplane.ledger.tally import Tally
from fastpath.money.price import MOST_NANO, Billable, Price, answer_rates, divide_half_even, pico_of, prompt_rates

_PPM = 1_000_000
_MICROS = 1_000_000
_PICO_PER_NANO = 1_000
_CHARGED, _COSTED = suffix_of(1, "charge"), suffix_of(1, "cost")
_json = msgspec.json.Encoder().encode


class Plains:
    """The plain requests of a batch. `rows`: one for each, its columns in the order of `fresh.RELAY`; `sums`: what they
    add to balances. It remembers the last price and outcome, which are the same in most."""

    def __init__(self, policy: Policy, numbering: Numbering, now: int) -> None:
        """now: microseconds."""
        self._policy = policy
        self._keyed = numbering.keyed
        self._now = now
        self._outcome: str | None = None
        self._pays = False
        self._price: Price | None = None
        self._fresh = self._output = self._once = 0
        self.rows: list[tuple[object, ...]] = []
        self.sums = Tally()

    def take(self, docket: Docket) -> bool:
        """Adds a request of which nothing was known before. False: it is not plain, and nothing was added."""
        end = docket.end
        if end is None or len(docket.intents) != 1:
            return False
        # All fields at once: one by one they are thirty look-ups of 30 ns.
        _, ended, _, attempts, status, outcome, _, path = astuple(end)
        if len(attempts) != 1 or not self._is_paid(outcome):
            return False
        number, _, used, estimated, disputed, delivered = astuple(attempts[0])
        if used is None or number != 1 or not delivered or estimated or disputed:
            return False
        parts = astuple(used)
        if min(parts) < 0 or max(parts) > MOST_NANO:
            return False
        request, attempt, ts, payer, model, endpoint, price, markup, reserved, _, _, other, bill, rate = astuple(
            docket.intents[0]
        )
        if attempt != 1 or price is None or other is not None or rate is not None:
            return False
        currency, most, pico = price.currency, reserved or MOST_NANO, self._pico_of(price, used, parts)
        if bill and bill != currency:
            return False
        cost = charge = divide_half_even(pico, _PICO_PER_NANO)
        if markup:
            charge = divide_half_even(pico * (_PPM + markup), _PPM * _PICO_PER_NANO)
        if charge > most or cost > most:
            return False
        fresh, cached, write, output, reasoning, _, write_long, heard, spoken = parts
        prompt, answer = fresh + cached + write + write_long + heard, output + reasoning + spoken
        admitted = round(ts * _MICROS)
        share = self.sums.share_of(payer, currency, admitted // QUARTER_MICROS)
        share.add(charge, cost, 1, prompt, answer)
        tenant, team, user, key = share.names
        ids = self._keyed.ids(request, _CHARGED, _COSTED, ID_SIZE)
        row = (
            ids, status, tenant, team, user, key, model, path, outcome, currency, endpoint, price.version,
            _json(used).decode(), admitted, round(ended * _MICROS), reserved, charge, cost, prompt, answer, self._now,
        )  # fmt: skip
        self.rows.append(row)
        return True

    def _is_paid(self, outcome: str) -> bool:
        if outcome is not self._outcome:
            self._outcome, self._pays = outcome, self._policy.pays(outcome)
        return self._pays

    def _pico_of(self, price: Price, used: Billable, parts: tuple[int, ...]) -> int:
        """The exact cost. Nearly all usages have fresh input and output alone."""
        if price.long is not None or parts[0] + parts[3] != sum(parts):
            return pico_of(price, used)
        if price is not self._price:
            self._price, self._once = price, price.request
            self._fresh, self._output = prompt_rates(price)[0], answer_rates(price)[0]
        return parts[0] * self._fresh + parts[3] * self._output + self._once
