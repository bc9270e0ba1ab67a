"""The judgement on a scenario: what holds, what misses, what the machine's noise makes void."""

from typing import Any

import msgspec
import pytest

from loadtest.locust.line import Heard, Side
from loadtest.locust.order import Report
from loadtest.locust.scenarios import SCENARIOS, Slo
from loadtest.locust.slo import Judgement, Verdict, judge, quantile

SCENARIO = msgspec.structs.replace(SCENARIOS["azure"], slo=Slo(ttft_p50=0.005, ttft_p95=0.020, gap_p95=0.010))
COUNT = 100


def turn(side: Side, late: float = 0.001, more: float = 0.0, gap: float = 0.010) -> Heard:
    """A turn whose first event came so much later than the model server's own time."""
    return Heard(side=side, manner="read", outcome="complete", ttft=SCENARIO.ttft + more, gaps=[gap] * 9, late=late)


def judged(direct: dict[str, Any], gateway: dict[str, Any], *others: Heard, wanted: int = COUNT) -> Judgement:
    heard = [turn("direct", **direct) for _ in range(COUNT)] + [turn("gateway", **gateway) for _ in range(COUNT)]
    heard[: len(others)] = others
    return judge(SCENARIO, Report(wanted=wanted, failures=0, heard=heard))


@pytest.mark.parametrize(
    ("direct", "gateway", "verdict", "objective"),
    [
        ({}, {}, Verdict.HELD, ""),
        ({}, {"more": 0.004}, Verdict.HELD, ""),
        ({}, {"more": 0.030}, Verdict.MISSED, "TTFT p50"),
        ({}, {"gap": 0.030}, Verdict.MISSED, "inter-token"),
        ({"more": 0.015}, {"more": 0.030}, Verdict.VOID, "TTFT p50"),
        ({"more": 0.050}, {"more": 0.051}, Verdict.HELD, ""),
        ({"more": 0.015}, {"more": 0.080}, Verdict.MISSED, "TTFT p95"),
        ({"gap": 0.015}, {"gap": 0.027}, Verdict.VOID, "inter-token"),
        ({"late": 0.040}, {"more": 0.040}, Verdict.VOID, "TTFT p50"),
    ],
)
def test_latency(direct: dict[str, Any], gateway: dict[str, Any], verdict: Verdict, objective: str) -> None:
    found = judged(direct, gateway)
    assert found.verdict == verdict
    assert bool(found.reasons) == bool(objective)
    assert objective in "".join(found.reasons)


def test_a_tail_misses_by_itself() -> None:
    slow = [turn("gateway", more=0.1) for _ in range(10)]
    heard = [turn("direct") for _ in range(COUNT)] + [turn("gateway") for _ in range(COUNT - 10)] + slow
    found = judge(SCENARIO, Report(wanted=COUNT, failures=0, heard=heard))
    assert found.verdict == Verdict.MISSED
    assert [reason.partition(":")[0] for reason in found.reasons] == ["TTFT p95"]


def test_an_error_is_never_excused_by_noise() -> None:
    failed = Heard(side="gateway", manner="read", outcome="error", reason="status 502")
    found = judged({"more": 0.5, "late": 0.5}, {}, failed)
    assert found.verdict == Verdict.MISSED
    assert "status 502" in found.reasons[0]


def test_turns_that_never_ended_are_a_miss() -> None:
    heard = [turn("direct") for _ in range(COUNT)] + [turn("gateway") for _ in range(COUNT - 1)]
    assert judge(SCENARIO, Report(wanted=COUNT, failures=0, heard=heard)).verdict == Verdict.MISSED


def test_too_little_is_void() -> None:
    heard = [turn(side) for side in ("direct", "gateway") for _ in range(5)]
    found = judge(SCENARIO, Report(wanted=5, failures=0, heard=heard))
    assert found.verdict == Verdict.VOID


def test_a_failing_rig_is_void() -> None:
    failed = Heard(side="direct", manner="read", outcome="error", reason="refused")
    assert judged({}, {}, failed).verdict == Verdict.VOID


def test_a_scenario_of_leavers_needs_some() -> None:
    heard = [turn(side) for side in ("direct", "gateway") for _ in range(COUNT)]
    found = judge(SCENARIOS["cancels"], Report(wanted=COUNT, failures=0, heard=heard))
    assert (found.verdict, found.reasons) == (Verdict.VOID, ["nobody left early"])


def test_a_cached_prompt_is_expected_sooner() -> None:
    cached = msgspec.structs.replace(turn("gateway"), cached=0.75)
    report = Report(wanted=COUNT, failures=0, heard=[turn("direct") for _ in range(COUNT)] + [cached] * COUNT)
    assert judge(SCENARIO, report).gateway.ttft_p50 == pytest.approx(0.75 * SCENARIO.ttft)


def test_quantiles() -> None:
    assert quantile([], 0.5) == 0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile(list(map(float, range(100))), 0.95) == 95.0
    assert quantile([1.0], 0.95) == 1.0
