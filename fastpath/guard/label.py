"""The label of data: its class and where its owner lets it go. What is derived from data carries the label of it.

Owns the lattice: two labels are joined to the stricter class and to the places that both allow, so a label only ever
rises. Nothing here lowers one, and no label is changed after it was made. Does not own who says what of a request
(`classes`), nor the last check before bytes leave (`egress`), which does not believe what is worked out here.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastpath.settings import DataClass

#: Bits of the tiers, as policies have them, and the tiers that a class may go to.
TIER_BITS: Final = {"L0": 1, "L1": 2, "L2": 4}
EVERYWHERE: Final = 7
#: P1 goes to L2 only behind a stage that masks personal data. There is none, so it does not.
CLASS_REACH: Final = {"P0": 3, "P1": 3, "P2": 7}


class Label:
    """Class and residency. tiers, regions: where the owner lets it go; None: anywhere.

    assumed: nobody said the class; it is what settings of this kind come down to. reach: bits of the tiers that class
    and residency leave.
    """

    def __init__(
        self,
        data_class: "DataClass",
        tiers: "frozenset[str] | None" = None,
        regions: "frozenset[str] | None" = None,
        assumed: bool = False,
    ) -> None:
        self.data_class: DataClass = data_class
        self.tiers = tiers
        self.regions = regions
        self.assumed = assumed
        self.reach = CLASS_REACH[data_class] & (EVERYWHERE if tiers is None else bits_of(tiers))

    def join(self, other: "Label") -> "Label":
        """The least label that is as strict as both: P0 over P1 over P2, and only the places that both allow."""
        return Label(
            self.data_class if self.data_class < other.data_class else other.data_class,
            _meet(self.tiers, other.tiers),
            _meet(self.regions, other.regions),
            self.assumed and other.assumed,
        )

    def covers(self, other: "Label") -> bool:
        """Whether this one is at least as strict."""
        return self.join(other) == self

    def admits(self, tier: str, region: str | None) -> bool:
        """Whether routing may offer a place of this tier and region. Of a place that nobody has named, no region is
        the right one."""
        return bool(self.reach & TIER_BITS.get(tier, 0)) and (self.regions is None or region in self.regions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Label) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)

    def __repr__(self) -> str:
        tiers, regions = (None if names is None else sorted(names) for names in (self.tiers, self.regions))
        return f"Label({self.data_class}, tiers={tiers}, regions={regions})"

    @property
    def _facts(self) -> "tuple[DataClass, frozenset[str] | None, frozenset[str] | None]":
        return self.data_class, self.tiers, self.regions


#: Of what carries nothing of any request: probes, key sets of identity providers, notices about budgets.
NO_DATA: Final = Label("P2")


def bits_of(tiers: Iterable[str]) -> int:
    """A set of tiers as a number."""
    return sum({TIER_BITS[tier] for tier in tiers})


def _meet(one: "frozenset[str] | None", other: "frozenset[str] | None") -> "frozenset[str] | None":
    if one is None or other is None:
        return other if one is None else one
    return one & other
