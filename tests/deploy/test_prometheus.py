"""What deploy/ promises, asked of a real Prometheus that scrapes a real gateway: every panel and alert has data."""

import time

import pytest

from fastpath.observe.families import FAMILIES
from tests.conftest import GatewayNode
from tests.deploy.conftest import Load, Prometheus, numbers
from tests.deploy.files import Query, Rule, annotations, dashboard_queries, rules, variables

WITHIN = 20.0

# Alerts that the load raises. Of all others the comparison is false, and so the answer empty, which is as it should be.
RAISED = {"FastpathErrorsHigh", "FastpathEndpointFailing", "FastpathEndpointDown", "FastpathUsageDisputed"}

ASKED = [
    *dashboard_queries(),
    *(side for rule in rules() for side in rule.sides()),
    *(Query(f"alert {rule.name}, raised", rule.expression) for rule in rules() if rule.name in RAISED),
]


@pytest.fixture(scope="module")
def unanswered(prometheus: Prometheus, load: Load) -> list[Query]:
    """The queries that had no data after rounds of load, asked again and again until there are none."""
    left = ASKED
    end = time.monotonic() + WITHIN
    while left and time.monotonic() < end:
        load.round()
        left = [query for query in left if not numbers(prometheus.query(query.expression))]
    return left


def test_every_panel_and_every_side_of_an_alert_has_data(unanswered: list[Query]) -> None:
    assert unanswered == []


def test_every_variable_has_values(unanswered: list[Query], prometheus: Prometheus) -> None:
    for selector, label in variables():
        series = prometheus.ask("series", **{"match[]": selector})
        assert {one[label] for one in series}, selector


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_an_alert_holds_only_for_what_went_wrong(unanswered: list[Query], prometheus: Prometheus, rule: Rule) -> None:
    raised = prometheus.query(rule.expression)
    if rule.name in RAISED:
        assert raised
    elif rule.name != "FastpathLoopLate":  # a busy machine makes loops late
        assert raised == []


def test_an_annotation_is_understood(unanswered: list[Query], prometheus: Prometheus) -> None:
    for note in annotations():
        assert prometheus.query(note.expression) == []


def test_the_dead_endpoint_is_told_from_the_living(unanswered: list[Query], prometheus: Prometheus) -> None:
    down = prometheus.query("min by (model, endpoint) (ai_inference_endpoint_health) == 0")
    assert {(one["metric"]["model"], one["metric"]["endpoint"]) for one in down} == {
        ("llama", "dead"),
        ("lost", "gone"),
        ("moved", "away"),
    }


def test_prometheus_knows_the_types_and_the_help(unanswered: list[Query], prometheus: Prometheus) -> None:
    known = prometheus.ask("metadata")
    for family in FAMILIES:
        # OpenMetrics names a counter's family without _total.
        (facts,) = known[family.name] if family.name in known else known[family.name.removesuffix("_total")]
        assert facts["help"] == family.help
        if family.name != "ai_inference_fallback_count":
            assert facts["type"] == family.kind


def test_names_that_callers_make_up_are_in_no_label(
    unanswered: list[Query], prometheus: Prometheus, gateway: GatewayNode
) -> None:
    models = {one["metric"].get("model") for one in prometheus.query("ai_inference_requests_total")}
    assert models - {"moved"} == {"llama", "lost", "moody", "narrow", "unknown"}
    assert "stranger" not in gateway.admin("/metrics")
