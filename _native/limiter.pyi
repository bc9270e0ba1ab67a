"""Everything that one caller's requests of one model must pass: rates, places and budgets, all or nothing.

A Limiter is what a Gate is, for more rates, for costs that follow from tokens, and with budgets: sums of tokens or of
money per period that are reserved at admission and settled at the end. A Ticket is what an admitted request holds. Both
live in an arena, so all of it is exact over the processes of a node, and a process may be killed anywhere: its places
and reservations come back when it is reaped (`Arena.reap`), less what it had marked as spent.

Times and durations are nanoseconds of CLOCK_MONOTONIC; periods are numbers of days since 1970, chosen by the caller;
amounts are int64: tokens, or nano-units of one currency. Making these costs microseconds, using them is atomic
instructions. Making belongs to one thread per Arena, using to any; a Ticket to one at a time.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, final

from _native.arena import Arena, Bucket, Limit, Pair, Refusal

MOST_RATES: int
MOST_SLOTS: int
MOST_BUDGETS: int
MOST_DAYS: int
"""Longest rolling budget."""

NO_BOUND: int
"""For a `limit` or `stop` that never refuses."""

ANY_PERIOD: int
"""The stamp of a rolling budget's cap."""

class Rate(NamedTuple):
    """A bucket as one Limiter charges it: a unit comes back every `period / per` ns, and it holds `burst` of them."""

    bucket: Bucket
    period: int
    burst: int
    per: int = 1
    request: int = 1
    """Units that each request costs."""
    input: int = 0
    """Units that each input token costs."""
    output: int = 0
    family: int = 0
    """Which group of `tightest` it belongs to; -1 for none."""
    scale: int = 1
    """How many units `tightest` shows as one."""
    depth: int = 0
    """Of a node's part of a limit that several nodes share, ns: how much the bucket may owe (0: what the burst costs).
    It is less than the burst, and a cost beyond it passes a bucket that owes nothing."""
    meter: Pair | None = None
    """Where the units admitted (value) and refused (stamp) are counted, None for nowhere."""

class Allowance(NamedTuple):
    """A budget as one Limiter spends it."""

    budget: Budget
    kind: Literal["tokens", "money"]
    whole: int
    """What it gives for a period."""
    limit: int
    """What is never exceeded by admission: spent, reserved and the new request's reservation together."""
    stop: int
    """From how much committed on nothing more is admitted."""
    carry: int = 0
    """How much of an unspent calendar period the next one gets on top, at most. Used first: sums begin below 0."""
    ahead: int = 2
    """How many days ahead another process's clock may be: a period that it opened counts. Beyond that it is damage."""
    caps: tuple[Pair, Pair] | None = None
    """Of a budget that several nodes share: what this node may commit (value) in which period (stamp; ANY_PERIOD for a
    rolling budget), in either of them. Without one for the present period nothing is admitted. To lower a cap exactly,
    admit what it loses, set it, and void that."""

@final
class Budget:
    """What was committed under one budget. Without room for it, one that refuses everything."""

    def __init__(self, arena: Arena, id: bytes, days: int = 1) -> None:
        """days: 1 for calendar periods, more for a rolling window of so many days. Raises ValueError beyond 31."""

    def seed(self, period: int, spent: int) -> None:
        """Sees to it that at least `spent` counts as spent in a period that is not over. Raises ValueError below 0."""

    @property
    def full(self) -> bool: ...

@final
class Limiter:
    """rates, slots (a limit, and how many may hold it) and budgets: at most 32, 8 and 8, each row once.

    Periods are 0 until `turn`. Raises ValueError for what cannot be, RuntimeError when it is initialised again.
    """

    def __init__(
        self,
        arena: Arena,
        rates: Sequence[Rate] = (),
        slots: Sequence[tuple[Limit, int]] = (),
        budgets: Sequence[Allowance] = (),
    ) -> None: ...
    def turn(self, place: int, period: int, previous: int) -> None:
        """Which period the budget at `place` is in by the wall clock, and which came before it.

        For a calendar budget a period's number is its first day, for a rolling one it is the day.
        """

    def pace(self, place: int, period: int, burst: int, per: int, depth: int = 0) -> None:
        """Changes the rate at `place`: what its bucket owes in time stays."""

    def widen(self, place: int, most: int) -> None:
        """Changes how many may hold the slot at `place`."""

    def admit(self, now: int, expires: int, input: int, output: int, money: int) -> Ticket | Refusal:
        """Admits a request that may cost so many tokens and so much money, and ends by `expires`; or changes nothing.

        Raises ValueError for a negative amount, RuntimeError when it needs a lease and the process did not `join`.
        """

    def fetch(self) -> None:
        """Has the rows that it counts in brought into the processor's cache while something else is done."""

    def tightest(self, now: int, family: int) -> tuple[int, int, int] | None:
        """Place, units left and ns until it is full again of the rate of a family with the fewest left."""

    def nearest(self, now: int, family: int) -> tuple[int, int, int]:
        """The same for compiled callers: place -1 when there is no such rate."""

    def committed(self, place: int) -> tuple[int, int, int]:
        """What the budget at `place` has committed, how much of it is only reserved, and in which period."""

    def notice(self, place: int, amount: int) -> None:
        """From how much spent on `Ticket.settle` reports the budget at `place` (default: never)."""

    def cross(self, place: int, period: int, thresholds: int) -> int:
        """Notes thresholds, a bit each, as crossed in a period; gives those that no process had noted yet.

        A rolling budget's note lasts as many days as its window.
        """

@final
class Ticket:
    """What an admitted request holds. Dropped, its places and reservations come back and what it was charged stays."""

    def settle(self, now: int, input: int, output: int, money: int) -> int:
        """Ends it: rates and budgets get what it truly cost, places are free. Exactly once.

        Gives the budgets (a bit for each place) that reached their `notice`; -1 when it had ended before.
        """

    def void(self, now: int) -> bool:
        """Ends it as if it had never been; False when it had ended before."""

    def mark(self, tokens: int, money: int) -> bool:
        """Says what it spent so far, which budgets are charged should its process die. False when nothing is held."""

    @property
    def held(self) -> bool:
        """Whether it has places or reservations, and they did not expire."""
