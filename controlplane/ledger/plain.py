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
from fastpath.money.price import MOST_NANO, Price, answer_rates, divide_half_even, price_for, prompt_rates

_PPM = 1_000_000
_PICO_PER_NANO = 1_000
_CHARGED, _COSTED = suffix_of(1, "charge"), suffix_of(1, "cost")
_json = msgspec.json.Encoder().encode


class Plains:
    """The plain requests of a batch. It remembers the last price and outcome, which are the same in most.

    `values`: of `count` rows, one behind the other, columns as in `fresh.RELAY`; `sums`: what they add to balances.
    """

    def __init__(self, policy: Policy, numbering: Numbering, now: int) -> None:
        """now: microseconds."""
        self._policy = policy
        self._keyed = numbering.keyed
        self._now = now
        self._outcome: str | None = None
        self._pays = False
        self._price: Price | None = None
        self._once = 0
        self._rates: tuple[int, ...] = ()
        self.count = 0
        self.values: list[object] = []
        self.sums = Tally()

    def take(self, docket: Docket) -> bool:
        """Adds a request of which nothing was known before. False: it is not plain, and nothing was added."""
        if docket.end is None or len(docket.intents) != 1:
            return False
        # All fields at once: one by one they are thirty look-ups of 30 ns.
        last = docket.last if docket.last is not None else astuple(docket.end)
        _, ended, _, attempts, status, outcome, _, path = last
        if len(attempts) != 1 or not self._is_paid(outcome):
            return False
        number, _, used, estimated, disputed, delivered = astuple(attempts[0])
        if used is None or number != 1 or not delivered or estimated or disputed:
            return False
        first = docket.first if docket.first is not None else astuple(docket.intents[0])
        request, attempt, ts, payer, model, endpoint, price, markup, reserved, _, _, other, bill, rate = first
        if attempt != 1 or price is None or other is not None or rate is not None:
            return False
        parts = astuple(used)
        fresh, cached, write, output, reasoning, _, write_long, heard, spoken = parts
        prompt, answer = fresh + cached + write + write_long + heard, output + reasoning + spoken
        if price.long is not None:
            self._learn(price_for(price, prompt))  # which has no more tiers, and so is never what `price` is
        elif price is not self._price:
            self._learn(price)
        pico = self._once
        for index in range(9):
            part = parts[index]
            if part:
                if not 0 < part <= MOST_NANO:
                    return False
                pico = pico + part * self._rates[index]
        currency, most = price.currency, reserved or MOST_NANO
        if bill and bill != currency:
            return False
        cost = charge = divide_half_even(pico, _PICO_PER_NANO)
        if markup:
            charge = divide_half_even(pico * (_PPM + markup), _PPM * _PICO_PER_NANO)
        if charge > most or cost > most:
            return False
        admitted = _micros(ts)
        share = self.sums.share_of(payer, currency, admitted // QUARTER_MICROS)
        share.add(charge, cost, 1, prompt, answer)
        tenant, team, user, key = share.names
        ids = self._keyed.ids(request, _CHARGED, _COSTED, ID_SIZE)
        row = (
            ids, status, tenant, team, user, key, model, path, outcome, currency, endpoint, price.version,
            _json(used).decode(), admitted, _micros(ended), reserved, charge, cost, prompt, answer, self._now,
        )  # fmt: skip
        self.values.extend(row)
        self.count += 1
        return True

    def _is_paid(self, outcome: str) -> bool:
        if outcome is not self._outcome:
            self._outcome, self._pays = outcome, self._policy.pays(outcome)
        return self._pays

    def _learn(self, price: Price) -> None:
        """What each part of a usage costs, in its order."""
        fresh, cached, write, write_long, heard = prompt_rates(price)
        output, reasoning, spoken = answer_rates(price)
        self._rates = (fresh, cached, write, output, reasoning, price.image, write_long, heard, spoken)
        self._price, self._once = price, price.request


def _micros(seconds: float) -> int:
    """`metadata.micros`, for which the interpreter looks up a method (0.1 us)."""
    scaled = seconds * 1_000_000
    if not 0 <= scaled < 9_007_199_254_740_992:  # beyond 2**53 there are no fractions
        return round(scaled)
    whole = int(scaled)
    rest = scaled - whole
    return whole + (rest > 0.5 or (rest == 0.5 and whole % 2 == 1))
