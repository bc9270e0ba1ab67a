"""Facts by request, checked: what one batch of the outbox says about each.

Owns the grouping and the judgement whether a fact can be booked at all. Does not own what follows from it (`fold`). A
fact that cannot is set aside with a reason; its neighbours are not held up. Pure. Compiled, see the .pxd.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any, Final, Self

import msgspec
from msgspec.structs import astuple

from controlplane.ledger.tables import NO_CURRENCY
from fastpath.money.currency import Rate
from fastpath.money.price import MOST_NANO, Price
from fastpath.outbox.facts import Attempt, End, Fact, Intent, Mark, Payer

_MOST_ATTEMPTS: Final = 1_000
_MOST_TEXT: Final = 1_024
_MOST_TIERS: Final = 8
_MOST_MARKUP: Final = 1_000_000_000  # ppm: a thousand times the price


class Docket:
    """What is known of one request. The first Intent of an attempt counts, the last Mark, the first End.

    There are thousands at once, and nearly all have one Intent and no Mark: so tuples, which are made anew. `first` and
    `last`: the fields of the first Intent and of the End, where somebody has taken them out.
    """

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.intents: tuple[Intent, ...] = ()
        self.marks: tuple[Mark, ...] = ()
        self.end: End | None = None
        self.first: tuple[Any, ...] | None = None
        self.last: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, fact: Fact) -> Self:
        """With this fact alone."""
        docket = cls(fact.request)
        docket.add(fact)
        return docket

    def add(self, fact: Fact) -> None:
        """Takes note of one more."""
        if type(fact) is Intent:
            if fact.attempt not in [known.attempt for known in self.intents]:
                self.intents = (*self.intents, fact)
        elif type(fact) is Mark:
            self.marks = (*[known for known in self.marks if known.attempt != fact.attempt], fact)
        elif type(fact) is End and self.end is None:
            self.end = fact

    def take(self, fact: Fact, values: tuple[Any, ...]) -> None:
        """Takes note of one more, of which the fields are known."""
        if type(fact) is Intent:
            if not self.intents:
                self.first = values
        elif self.end is None:
            self.last = values
        self.add(fact)

    def facts(self) -> list[Fact]:
        """All of them, in their natural order."""
        ended = [] if self.end is None else [self.end]
        return [*self.intents, *self.marks, *ended]


class Rejected(msgspec.Struct, frozen=True):
    """A fact that cannot be booked."""

    fact: Fact
    reason: str


def sort_facts(facts: Iterable[Fact], now: float, late: float) -> tuple[dict[bytes, Docket], list[Rejected]]:
    """Dockets by request id, and the facts that have no place in one. now: Unix seconds; late: seconds around it."""
    dockets: dict[bytes, Docket] = {}
    rejected: list[Rejected] = []
    judge = Judge(now, late)
    for fact in facts:
        reason = judge.find_fault(fact)
        if reason is not None:
            rejected.append(Rejected(fact, reason))
            continue
        request = fact.request
        docket = dockets.get(request)
        if docket is None:
            docket = dockets[request] = Docket(request)
        if judge.values is not None:
            docket.take(fact, judge.values)
        else:
            docket.add(fact)
    return dockets, rejected


class Judge:
    """Says why a fact cannot be booked. Types were checked when it was decoded, values are checked here.

    now: Unix seconds; late: seconds around it. It remembers prices and payers, which are the same in most facts of a
    batch; where a reader gives them as one object (`_native.recall`), that takes no look into them. `values`: fields
    of the Intent or End that was judged last, None of a Mark.
    """

    def __init__(self, now: float, late: float) -> None:
        self._now = now
        self._late = late
        self._price: Price | None = None  # the last one, and what was wrong with it
        self._price_fault: str | None = None
        self._prices: dict[Price, str | None] = {}
        self.values: tuple[Any, ...] | None = None
        # By the identity of a payer, which is kept with it: the texts beside it in an Intent or End, and what is wrong
        # with any of them.
        self._sent: dict[int, tuple[Payer, str, str, str, str | None]] = {}
        self._ended: dict[int, tuple[Payer, str, str, str, str | None]] = {}

    def find_fault(self, fact: Fact) -> str | None:
        """None: it can be booked."""
        if len(fact.request) != 16:
            return "the request's id is not 16 bytes"
        if type(fact) is Intent:
            return self._fault_of_intent(fact)
        if type(fact) is Mark:
            self.values = None
            return _fault_of_attempt(fact.attempt)
        assert type(fact) is End
        return self._fault_of_end(fact)

    def _fault_of_intent(self, fact: Intent) -> str | None:
        values = self.values = astuple(fact)
        _, attempt, ts, payer, model, endpoint, price, markup, reserved, estimate, _, charge, bill, rate = values
        if not 0 <= reserved <= MOST_NANO:
            return "the reservation is no amount"
        if not -1_000_000 <= markup <= _MOST_MARKUP:
            return "the markup is out of range"
        if not 0 <= estimate <= MOST_NANO:
            return "the estimate of the prompt is no number of tokens"
        fault = _fault_of_attempt(attempt) or self._fault_of_price(price) or self._fault_of_price(charge)
        if fault is None and (bill or rate is not None):
            fault = _fault_of_rate(price if charge is None else charge, bill, rate)
        return fault or _fault_of_names(self._sent, payer, model, endpoint, "") or self._fault_of_time(ts)

    def _fault_of_end(self, fact: End) -> str | None:
        values = self.values = astuple(fact)
        _, ts, payer, attempts, status, outcome, model, path = values
        fault = _fault_of_attempts(attempts)
        if fault is not None:
            return fault
        if not 0 <= status <= 999:
            return "the status is no status"
        return _fault_of_names(self._ended, payer, outcome, model, path) or self._fault_of_time(ts)

    def _fault_of_price(self, price: Price | None) -> str | None:
        if price is None:
            return None
        if price is not self._price and price != self._price:
            if price not in self._prices:
                self._prices[price] = _fault_of_price(price)
            self._price, self._price_fault = price, self._prices[price]
        return self._price_fault

    def _fault_of_time(self, ts: float) -> str | None:
        near = isfinite(ts) and abs(self._now - ts) <= self._late
        return None if near else "its time is too far from now"


def _fault_of_names(
    judged: dict[int, tuple[Payer, str, str, str, str | None]], payer: Payer, one: str, two: str, three: str
) -> str | None:
    known = judged.get(id(payer))
    if known is None or known[1] != one or known[2] != two or known[3] != three:
        known = (payer, one, two, three, _fault_of_texts((*astuple(payer), one, two, three)))
        judged[id(payer)] = known
    return known[4]


def _fault_of_rate(price: Price | None, currency: str, rate: Rate | None) -> str | None:
    """A bill in another currency than its price needs a rate between the two, and nobody guesses one."""
    wanted = "" if price is None else price.currency
    if currency and not _is_code(currency):
        return "the currency of the bill is no ISO 4217 code"
    if not currency or currency == wanted:
        return None if rate is None else "it has a rate, and nothing to convert"
    if rate is None or price is None:
        return f"no rate from {wanted or NO_CURRENCY} to {currency} came with it: add one to the price list"
    if (rate.source, rate.target) != (wanted, currency) or not 0 < rate.scaled <= MOST_NANO:
        return "its rate is between other currencies, or out of range"
    return None


def _is_code(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()


def _fault_of_attempts(attempts: tuple[Attempt, ...]) -> str | None:
    for attempt in attempts:
        fault = _fault_of_attempt(attempt.attempt)
        if fault is not None:
            return fault
    if len(attempts) > 1:
        if len({attempt.attempt for attempt in attempts}) != len(attempts):
            return "an attempt is named twice"
        if sum([attempt.delivered for attempt in attempts]) > 1:
            return "two attempts were delivered"
    return None


def _fault_of_attempt(attempt: int) -> str | None:
    return None if 1 <= attempt <= _MOST_ATTEMPTS else "the attempt's number is out of range"


def _fault_of_price(price: Price, tiers: int = 0) -> str | None:
    if tiers > _MOST_TIERS:
        return "the price has too many tiers"
    rates = [value for value in astuple(price) if isinstance(value, int)]
    if min(rates) < 0 or max(rates) > MOST_NANO:
        return "the price is out of range"
    if not _is_code(price.currency):
        return "the currency is no ISO 4217 code"
    fault = _fault_of_texts((price.version,))
    return fault if fault is not None or price.long is None else _fault_of_price(price.long, tiers + 1)


def _fault_of_texts(texts: tuple[str, ...]) -> str | None:
    """PostgreSQL refuses NUL, and no database takes half a surrogate pair."""
    whole = "".join(texts)
    if len(whole) > _MOST_TEXT:
        return "its texts are too long"
    if "\0" in whole or not (whole.isascii() or _is_unicode(whole)):
        return "a text holds what no database stores"
    return None


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
