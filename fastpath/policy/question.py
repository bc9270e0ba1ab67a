"""What policies are asked, and what they answer. Pure data.

A set of tiers is a number: `TIERS` has the bit of each, `EVERY_TIER` all of them.
"""

import msgspec

from fastpath.settings import DataClass

TIERS = {"L0": 1, "L1": 2, "L2": 4}
EVERY_TIER = 7
CLASSES: tuple[DataClass, ...] = ("P0", "P1", "P2")  # the most sensitive first


class Question(msgspec.Struct, frozen=True):
    """One request. at: Unix seconds; key: its name. None or "": there is no such thing, or nobody knows it."""

    model: str
    path: str
    data_class: DataClass
    at: float
    key: str | None = None
    user: str | None = None
    team: str | None = None
    tenant: str | None = None
    address: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """Tiers that the request may go to, of those that were asked for, and the rule to name.

    rule: the first `deny` that took a tier away; else the first `allow` that it needs; None: the default decided.
    """

    tiers: int
    rule: str | None = None
