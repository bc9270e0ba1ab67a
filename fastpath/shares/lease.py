"""What one node holds of one limit that several nodes share. Pure: time and answers come in, asks and parts go out.

Owns the rule that keeps the sum of all parts within the limit: a node says it holds less only after it works by less,
and works by more only after it was told that it holds more. So `kept <= held` always, and the other side, which adds up
what nodes hold, never gives out a part twice, whichever messages are lost, doubled or late.

Amounts are whole numbers of one kind: billionths of a rate, places, micro-units of money, tokens.
"""

from collections import deque
from typing import Final

import msgspec

SETTLE: Final = 0.25
"""Seconds until every worker works by a lowered part, or it is looked at what runs: more than a plan waits."""
LAPSE: Final = 3.0
"""Seconds without an answer after which a node goes on with its fair part; the others have its own by then."""


class Want(msgspec.Struct, frozen=True):
    """used: what cannot be given back now; wanted: used and what will be soon; debt: of a rate's bucket, ns."""

    used: int
    wanted: int
    debt: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What the other side says. held: by this node; target: what it should hold; total: held by all and lost; used: by
    the others and lost; debt: of the part it was given, ns; nodes: that hold some of it."""

    held: int
    target: int
    total: int
    used: int
    debt: int
    nodes: int
    settled: bool


class Lease:
    """Of one limit of `total`. `hard`: a budget, of which no more than the total may ever be used."""

    __slots__ = ("_left", "hard", "held", "kept", "nodes", "others_used", "remembered", "total")

    def __init__(self, total: int, *, hard: bool, held: int = 0) -> None:
        self.total = total
        self.hard = hard
        self.held = self.kept = held
        self.remembered = 0
        self.nodes = 1
        self.others_used = 0
        self._left: deque[tuple[float, int]] = deque()  # parts that workers may still work by, and since when not

    def declare(self, now: float, used: int) -> int:
        """What to say that this node holds: what is given up counts from when no worker can use it any more."""
        while self._left and (self.hard or self._left[0][0] <= now - SETTLE):
            self._left.popleft()
        still = max((part for _, part in self._left), default=0)
        self.held = min(self.held, max(self.kept, used, still))
        return self.held

    def take(self, answer: Answer, used: int) -> int:
        """What the node should work by from now on; `keep` says what it does. `answer` was judged by `is_sound`."""
        self.held = answer.held
        self.remembered = answer.total
        self.nodes = answer.nodes
        self.others_used = answer.used
        slack = 0 if self.hard else self.total // 1000  # what moves to and fro is not worth a move
        goal = answer.target if not 0 <= self.kept - answer.target <= slack else self.kept
        return min(max(goal, used), self.held)

    def keep(self, part: int, now: float) -> None:
        """The node works by so much now."""
        if part < self.kept:
            self._left.append((now, self.kept))
        self.kept = part
        self.held = max(self.held, part)

    def is_sound(self, answer: Answer, declared: int) -> bool:
        """Whether an answer can be true."""
        return (
            declared <= answer.held <= max(declared, self.total)
            and answer.total >= answer.held
            and min(answer.target, answer.used, answer.debt) >= 0
            and 1 <= answer.nodes <= 1_000_000
        )
