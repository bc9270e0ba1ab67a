"""What endpoints have to do, and who has least of it: the arithmetic over the endpoint table's columns.

Owns the charge of an attempt (its prompt's tokens, from when it is sent until they are read) and the cost in seconds of
sending one more. Columns are the arrays of `scheduler.endpoint.EndpointTable`, read where they lie: they may grow, and
anybody on the same thread may write them. What stands in them is not trusted: NaN, infinity and negative numbers count
as nothing, and a slot that is not there raises IndexError. Times are monotonic seconds, tokens whole numbers.
"""

from array import array
from collections.abc import Mapping
from typing import Any, final

@final
class Load:
    """One worker's view of all endpoints."""

    def __init__(self, columns: Mapping[str, array[Any]]) -> None:
        """Raises KeyError for a missing column, TypeError for one of another type, ValueError for unequal lengths."""

    def send(self, slot: int, tokens: int) -> float:
        """An attempt begins there, with so many tokens to read. Gives the mark that `settle` wants."""

    def settle(self, slot: int, tokens: int, mark: float) -> None:
        """Those tokens were read, or never will be. Once for each `send`."""

    def end(self, slot: int) -> None:
        """The attempt is over. Once for each `send`."""

    def observe(self, slot: int, seconds: float, now: float) -> None:
        """An attempt's first token came after so many seconds: a peak EWMA, which rises at once and falls in 10 s."""

    def observe_most(self, slot: int, seconds: float, now: float) -> bool:
        """A whole answer came after so many seconds, its first token before. Only lowers the mean; says whether."""

    def note(self, slot: int, stamp: float, queued: float, kv_usage: float, throughput: float) -> bool:
        """Takes a sample of the endpoint's own, taken at `stamp`; False for an older or an impossible one.

        queued: prompt tokens that wait there. kv_usage: 0 to 1. throughput: prompt tokens that it can read in a
        second, below 1 when that is not known: then the one known stays.
        """

    def waiting(self, slot: int, now: float) -> float:
        """Tokens to be read there before those of a new prompt."""

    def seconds(self, slot: int, tokens: int, now: float) -> float:
        """The cost of sending a prompt of so many uncached tokens there: about when its first token would come."""

    def least(self, slots: list[int], tokens: int, now: float) -> int:
        """The slot of least cost. Those within 5 ms of the least take turns, by their weights.

        What waits counts by weight too: half the weight, twice the load. Weight 0 only when no other is given. Raises
        ValueError for an empty list.
        """

    def fewest(self, slots: list[int]) -> int:
        """The slot with the fewest running attempts per weight, of all workers; of equals the one picked longest ago.
        Weight 0 only when no other is given. Raises ValueError for an empty list."""

    def home(self, slots: list[int], key: int) -> int:
        """The slot that this key (64 bits) belongs to, by weighted rendezvous hashing with bounded load.

        Each endpoint scores the key on its own, -weight / ln(u), and the highest wins (Thaler and Ravishankar 1998;
        Schindelhauer and Schomaker 2005); but whoever runs 1.25 times its share, or more, only where all do (Mirrokni
        et al. 2016). Weight 0 only when no other is given. Raises ValueError for an empty list.
        """
