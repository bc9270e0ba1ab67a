"""The five steps and the score over the endpoints of one model (see score.pxd). One thread at a time.

Places are numbers of endpoints in their pool; positions are numbers inside a view. Tiers are 0 to 2, data classes 0
(P0) to 2 (P2). Nothing here raises for what facts or extensions say: what is no number counts as the worst one.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from _native.load import Load

class Live:
    """Columns of the endpoint table by slot, which may grow afterwards, and what waits by them. Raises ValueError for
    another element type."""

    def __init__(self, columns: Mapping[str, array[Any]], load: Load) -> None: ...
    def waiting(self, slot: int, now: float) -> float:
        """Seconds of prompts that wait there. Raises IndexError."""

    def predicted(self, slot: int, prompt: float, now: float) -> float:
        """Seconds to the first token of a prompt, as `scheduler.predict.predict_ttft`. Raises IndexError."""

class Plan:
    """A strategy. Immutable."""

    safety_weight: float
    capability_weight: float
    latency_weight: float
    cost_weight: float
    slo: float
    deadline: float
    ceiling: float
    saturation: float
    stale: float
    overflow_wait: float
    overflow_back: float
    local_first: bool

    def __init__(
        self,
        weights: Sequence[float],
        table: Sequence[float],
        slo: float,
        deadline: float,
        ceiling: float = ...,
        saturation: float = ...,
        stale: float = ...,
        local_first: bool = ...,
        overflow_wait: float = ...,
        overflow_back: float = ...,
    ) -> None:
        """weights: safety, capability, latency, cost. table: nine scores, of P0 at L0, L1, L2, of P1, of P2. slo,
        deadline, stale, overflow_*: seconds. ceiling: the most that a request may cost, infinity: any. Raises
        ValueError for another number of weights or scores, a weight or an slo that is none."""

class Ask:
    """One request. prompt, answer: tokens expected of it; need: tokens that must fit into the context."""

    data_class: int
    prompt: float
    answer: float
    need: float

    def __init__(self, data_class: int, prompt: float, answer: float, need: float) -> None: ...

class View:
    """The endpoints of a pool that are left for requests of one kind. count: how many.

    dropped: a code for each endpoint of the pool, 0 for those that are left.
    """

    count: int
    dropped: bytes

    def places(self) -> list[int]:
        """The place of each that is left."""

class Pool:
    """The endpoints of one model.

    kept, degraded: of the last judgement: how many were left to be scored, and the code that was forgiven so that
    somebody was (0: none). looked_at: endpoints that decisions have looked at since the pool was made.
    """

    count: int
    kept: int
    degraded: int
    overflowing: bool
    looked_at: int

    def __init__(self, facts: Sequence[Sequence[float]], overflowing: bool = ...) -> None:
        """A row for each endpoint: slot, kind (from 0), tier, supports (-1: nobody says), quality, context (0), most
        connections, price of a prompt token (-1), of an answer's, of a request, long_from (0), and both prices from
        there on. Raises ValueError for a row of another length, or a slot, kind or tier that is none."""

    def reprice(self, place: int, prices: Sequence[float]) -> None:
        """Sets the last six facts of an endpoint. Raises IndexError, ValueError."""

    def narrow(self, codes: bytes, wants: int, need: float, fits: bytes) -> View:
        """The steps that depend on no live fact. codes: for each endpoint 0 or why it is not allowed; wants: bits of
        capabilities; need: tokens; fits: for each endpoint hundredths. Raises ValueError for a wrong length."""

    def gather(self, view: View, live: Live, plan: Plan, ask: Ask, now: float) -> None:
        """Reads what is true now. now: the clock of the table's times. Raises IndexError for a slot of no column."""

    def load(self, view: View, columns: bytes) -> None:
        """Instead of `gather`: what `columns` gave. Raises ValueError for another length."""

    def columns(self, view: View) -> bytes:
        """What was gathered: three doubles (predicted TTFT, wait, flags) for each of the view."""

    def filter(self, view: View, taken: bytes) -> None:
        """After `gather`: takes away those with a byte that is not 0. Raises ValueError for another length."""

    def judge(self, view: View, plan: Plan, ask: Ask, turn: int, extra: array[float] | None = None) -> int:
        """The kind to take, -1: nobody is left. turn: whose turn it is among equals; extra: added to the totals, for
        each of the view. Raises ValueError for an extra of another length or type."""

    def slots(self, view: View, kind: int) -> list[int]:
        """The slots of those of a kind that were left."""

    def codes(self, view: View) -> bytes:
        """Why each endpoint of the pool was dropped, 0: it was not."""

    def scores(self, view: View) -> list[tuple[int, float, float, float, float, float]]:
        """Place, safety, capability, latency, cost and total of each that was left."""

KEPT: int
TIER: int
REGION: int
PINNED: int
PATH: int
CONTEXT: int
CONTEXT_UNKNOWN: int
LACKS: int
UNDECLARED: int
FILTERED: int
TRIED: int
OUT: int
FULL: int
LATE: int
WAITS: int
CEILING: int
NO_PRICE: int
NOT_NEEDED: int
SPARE: int
