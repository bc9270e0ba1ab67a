"""Policy: what a tenant pays for an answer that did not arrive whole, and what bounds a bill.

Owns the table of rules; a ledger is given one. Does not own prices or states. Pure.
"""

from enum import Enum
from types import MappingProxyType
from typing import Final

import msgspec

from fastpath.money.price import MOST_NANO, Billable, Price, nano_of, pico_of


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


class Policy(msgspec.Struct, frozen=True):
    """How a ledger decides. `late_seconds`: facts older or further in the future than this go to a person."""

    rules: MappingProxyType[str, Pay] = RULES
    late_seconds: float = 35 * 86_400.0

    def pays(self, outcome: str) -> bool:
        """Whether the delivered attempt is charged. An outcome nobody made a rule for is not."""
        return self.rules.get(outcome, Pay.NOTHING) is Pay.USAGE


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


def amount_of(price: Price, usage: Billable, markup_ppm: int, reserved: int) -> Amount:
    """What a usage costs, at most what was set aside for it. reserved 0: nothing was, so only int64 bounds it."""
    nano = nano_of(pico_of(price, usage), markup_ppm)
    most = reserved or MOST_NANO
    if nano <= most:
        return Amount(nano)
    return Amount(most, min(nano, MOST_NANO))
