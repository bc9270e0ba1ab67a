"""The judgement on one scenario: what the gateway's way took more than the direct one, against what it may.

Owns the figures and the verdict. Does not run anything. Concurrency: pure functions.

Both ways are loaded in the same seconds with the same talks, so what the machine does to both cancels out. What it did
to the direct way alone (its lateness against the model server's own pace) is known too: a limit missed by no more than
HOPS times that proves nothing, and the run is void. Errors and missing turns are never excused.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from loadtest.locust.line import Heard, Side
from loadtest.locust.order import Report
from loadtest.locust.scenarios import Scenario

HOPS = 3
"""A turn waits for a processor twice on the direct way, four times through the gateway. Measured with three times as
many processes that wanted to run as processors: 20 and 65 ms late at 95 %."""
FEWEST = 20
"""Turns per way below which a quantile says nothing."""


class Verdict(StrEnum):
    """`missed`: an objective does not hold. `void`: the machine was too noisy, or the run too short, to tell."""

    HELD = "held"
    MISSED = "missed"
    VOID = "void"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One way. Times in seconds; TTFT is counted beyond what the model server was told to take, of readers only."""

    turns: int
    errors: int
    left: int
    """Callers that left as planned."""
    ttft_p50: float
    ttft_p95: float
    gap_p95: float
    """Of the time between two tokens."""
    late_p95: float
    """Between the moment a turn was due and the moment the load sent it."""


class Objective(msgspec.Struct, frozen=True):
    """One limit and what was found, seconds."""

    name: str
    limit: float
    direct: float
    gateway: float
    noise: float
    """What the machine did to the direct way, and to the load."""

    @property
    def added(self) -> float:
        return self.gateway - self.direct

    @property
    def verdict(self) -> Verdict:
        if self.added <= self.limit:
            return Verdict.HELD
        return Verdict.VOID if self.added <= self.limit + HOPS * self.noise else Verdict.MISSED


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a scenario."""

    scenario: str
    verdict: Verdict
    reasons: list[str]
    direct: Figures
    gateway: Figures


def judge(scenario: Scenario, report: Report) -> Judgement:
    """Errors first, then whether there is enough to judge, then the latencies."""
    direct, gateway = (figures(scenario, report.heard, side) for side in ("direct", "gateway"))
    failed = list(_failures(report, gateway))
    empty = list(_emptiness(scenario, report, direct, gateway))
    limits = [one for one in objectives(scenario, direct, gateway) if one.verdict is not Verdict.HELD]
    if failed or (not empty and any(one.verdict is Verdict.MISSED for one in limits)):
        verdict = Verdict.MISSED
    else:
        verdict = Verdict.VOID if empty or limits else Verdict.HELD
    reasons = [*failed, *empty, *map(_describe, limits)]
    return Judgement(scenario=scenario.name, verdict=verdict, reasons=reasons, direct=direct, gateway=gateway)


def figures(scenario: Scenario, heard: Sequence[Heard], side: Side) -> Figures:
    """What the turns of one way were like."""
    turns = [one for one in heard if one.side == side]
    read = [one for one in turns if one.manner == "read" and one.outcome == "complete" and one.ttft is not None]
    ttft = [(one.ttft or 0.0) - scenario.ttft * (1 - one.cached) for one in read]
    return Figures(
        turns=len(turns),
        errors=sum(one.outcome == "error" for one in turns),
        left=sum(one.outcome == "left" for one in turns),
        ttft_p50=quantile(ttft, 0.50),
        ttft_p95=quantile(ttft, 0.95),
        gap_p95=quantile([gap for one in read for gap in one.gaps], 0.95),
        late_p95=quantile([one.late for one in turns], 0.95),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def objectives(scenario: Scenario, direct: Figures, gateway: Figures) -> list[Objective]:
    """The limits of a scenario with what was found."""
    slo, pace = scenario.slo, 1 / scenario.rate
    late = max(0.0, direct.late_p95, gateway.late_p95)
    noise = max(late, direct.ttft_p95)
    return [
        Objective("TTFT p50", slo.ttft_p50, direct.ttft_p50, gateway.ttft_p50, max(late, direct.ttft_p50)),
        Objective("TTFT p95", slo.ttft_p95, direct.ttft_p95, gateway.ttft_p95, noise),
        Objective("inter-token p95", slo.gap_p95, direct.gap_p95, gateway.gap_p95, max(0.0, direct.gap_p95 - pace)),
    ]


def _failures(report: Report, gateway: Figures) -> Iterator[str]:
    if gateway.errors:
        first = next(one.reason for one in report.heard if one.side == "gateway" and one.outcome == "error")
        yield f"{gateway.errors} of {gateway.turns} turns failed through the gateway, the first: {first}"
    if gateway.turns < report.wanted:
        yield f"{report.wanted - gateway.turns} of {report.wanted} turns through the gateway did not end"


def _emptiness(scenario: Scenario, report: Report, direct: Figures, gateway: Figures) -> Iterator[str]:
    if direct.errors or direct.turns < report.wanted:
        yield f"{direct.errors} turns failed on the direct way, {report.wanted - direct.turns} did not end"
    if min(direct.turns, gateway.turns) < FEWEST:
        yield f"fewer than {FEWEST} turns"
    if scenario.leavers and not (direct.left and gateway.left):
        yield "nobody left early"


def _describe(one: Objective) -> str:
    return (
        f"{one.name}: {one.added * 1e3:.1f} ms more than direct, {one.limit * 1e3:.0f} allowed"
        f" ({one.direct * 1e3:.1f} direct, {one.gateway * 1e3:.1f} gateway, noise {one.noise * 1e3:.1f})"
    )
