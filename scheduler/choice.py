"""How an endpoint was chosen, in words that people and programs read: the trace of one decision.

Owns the shapes and the five steps; whoever decides fills them in. Pure data. Explanations, audit and replay are views
of it, so it holds everything that a decision looked at and nothing that a tenant must not see but names.
"""

from enum import StrEnum

import msgspec


class Step(StrEnum):
    """The filters, in the order that they are applied."""

    SAFETY = "safety"  # data class, residency, policies: where it may go
    CAPABILITY = "capability"  # context, tools, vision, language: who can do it
    PERFORMANCE = "performance"  # health, saturation, predicted time to first token: who can do it in time
    COST = "cost"  # budgets and ceilings: who can do it for the money
    DEGRADE = "degrade"  # nobody is left: whom else the caller would take


class Dropped(msgspec.Struct, frozen=True, array_like=True):
    """An endpoint that a step took away. reason: a word of that step, as `tier` or `breaker_open`."""

    endpoint: str
    step: Step
    reason: str


class Scored(msgspec.Struct, frozen=True, array_like=True):
    """What the scorers said of an endpoint that was left, each in [0, 1], and their weighted sum."""

    endpoint: str
    safety: float
    capability: float
    latency: float
    cost: float
    total: float


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """One choice of one request: there is one for each attempt.

    model: whose endpoints were looked at: the one that was asked for, a fallback or a substitute. endpoint: None where
    nobody was left. scored: empty where all that were left are replicas of one kind. reason: what decided, as `only`,
    `score`, `picker`, `overflow`, `panic`.
    """

    model: str
    endpoint: str | None
    reason: str
    strategy: str = ""
    dropped: tuple[Dropped, ...] = ()
    scored: tuple[Scored, ...] = ()
