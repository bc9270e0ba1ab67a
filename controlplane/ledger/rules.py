"""Policy: what a tenant pays for an answer that did not arrive whole, and what bounds a bill.

Owns the table of rules; a ledger is given one. Does not own prices or states. Pure.
"""

from enum import Enum
from types import MappingProxyType
from typing import Final

import msgspec

from fastpath.money.currency import RATE_DIGITS
from fastpath.money.price import MOST_NANO, Billable, Price, divide_half_even, nano_of, pico_of
from fastpath.outbox.facts import Intent

_PPM: Final = 1_000_000
_PICO_PER_NANO: Final = 1_000


class Pay(Enum):
    """What of the delivered attempt's usage a tenant pays."""

    USAGE = "usage"  # all that the provider bills for it
    NOTHING = "nothing"


#: By outcome, as in the access log. A failed attempt before the delivered one is never charged: it has no row here.
RULES: Final = MappingProxyType(
    {
        "complete": Pay.USAGE,
        "client_left": Pay.USAGE,  # or hanging up before the last byte would be a discount
        "broken": Pay.USAGE,  # what was streamed was used; the usage is of that part
        "abandoned": Pay.USAGE,  # by its last mark: that much reached the caller
        "error": Pay.NOTHING,  # told before the answer began
        "refused": Pay.NOTHING,
    }
)


_PAID: Final = Pay.USAGE  # a member is looked up in 0.2 us, and every request asks


class Policy(msgspec.Struct, frozen=True):
    """How a ledger decides. `late_seconds`: facts older or further in the future than this go to a person."""

    rules: MappingProxyType[str, Pay] = RULES
    late_seconds: float = 35 * 86_400.0

    def pays(self, outcome: str) -> bool:
        """Whether the delivered attempt is charged. An outcome nobody made a rule for is not."""
        return self.rules.get(outcome) is _PAID


class Amount(msgspec.Struct, frozen=True, gc=False):
    """Nano-units, and `claimed`: what was asked where that was not believed."""

    nano: int
    claimed: int | None = None


def plausible(usage: Billable) -> tuple[Billable, bool]:
    """The usage with impossible parts mended, and whether there were any."""
    parts = msgspec.structs.astuple(usage)
    if min(parts) >= 0 and max(parts) <= MOST_NANO:
        return usage, False
    return Billable(*(min(max(part, 0), MOST_NANO) for part in parts)), True


def cost_of(intent: Intent, price: Price, usage: Billable) -> Amount:
    """What the provider asks, in the price's currency. What was set aside bounds it where it was set aside by the same
    price: not where the tenant is charged by another one, in another currency, or less than cost."""
    same = intent.charge is None and bill_currency(intent) == price.currency and intent.markup_ppm >= 0
    return _bounded(nano_of(pico_of(price, usage)), intent.reserved if same else 0)


def charge_of(intent: Intent, price: Price, usage: Billable) -> Amount:
    """What the tenant owes, in the currency of its bill: marked up, converted at the rate of the day of admission that
    the Intent has pinned, and rounded once; at most what was set aside for it."""
    number, divisor = pico_of(price, usage) * (_PPM + intent.markup_ppm), _PPM * _PICO_PER_NANO
    if intent.rate is not None:
        number, divisor = number * intent.rate.scaled, divisor * 10**RATE_DIGITS
    return _bounded(divide_half_even(number, divisor), intent.reserved)


def charged_by(intent: Intent) -> Price | None:
    """The price that the tenant is charged by; None: none is known."""
    return intent.price if intent.charge is None else intent.charge


def bill_currency(intent: Intent) -> str | None:
    """The currency of the bill; None: there is no price, and so none."""
    price = charged_by(intent)
    return None if price is None else intent.currency or price.currency


def _bounded(nano: int, reserved: int) -> Amount:
    """reserved 0: nothing was, so only int64 bounds it."""
    most = reserved or MOST_NANO
    if nano <= most:
        return Amount(nano)
    return Amount(most, min(nano, MOST_NANO))
