"""Dashboard and rules on their own: sound, and naming nothing that does not exist."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from fastpath.observe.families import FAMILIES
from tests.deploy.files import (
    PROMETHEUS,
    Query,
    annotations,
    dashboard,
    dashboard_queries,
    metrics_of,
    rules,
    samples,
    variables,
)


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_configuration_and_rules() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "alerts.yml")


def test_the_rules_pass_their_own_tests() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested_and_explained() -> None:
    tests = (PROMETHEUS / "alerts_test.yml").read_text()
    text = (PROMETHEUS / "alerts.yml").read_text()
    names = [rule.name for rule in rules()]
    assert len(set(names)) == len(names)
    assert [name for name in names if name not in tests] == []
    assert text.count("severity:") == text.count("summary:") == text.count("description:") == len(names)


@pytest.mark.parametrize("query", [*dashboard_queries(), *annotations()], ids=lambda query: query.place)
def test_a_panel_names_only_metrics_that_exist(query: Query) -> None:
    assert metrics_of(query.expression) <= samples()


def test_an_alert_names_only_metrics_that_exist() -> None:
    for rule in rules():
        assert metrics_of(rule.expression), rule.name
        assert metrics_of(rule.expression) <= samples(), rule.name


def test_a_made_up_metric_would_be_seen() -> None:
    made_up = 'sum by (model) (rate(ai_inference_made_up_total{model=~"a"}[5m])) / sum(up) > 0'
    assert metrics_of(made_up) == {"ai_inference_made_up_total", "up"}


def test_every_family_has_a_place_on_the_dashboard() -> None:
    asked = {name for query in dashboard_queries() for name in metrics_of(query.expression)}
    shown = {family.name for family in FAMILIES if asked & {family.name, family.name + "_bucket"}}
    assert {family.name for family in FAMILIES} - shown == set()


def test_the_dashboard_is_one_that_grafana_can_draw() -> None:
    board = dashboard()
    panels = board["panels"]
    assert board["schemaVersion"] >= 38  # Grafana 10
    assert Counter(panel["id"] for panel in panels).most_common(1)[0][1] == 1
    taken = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(taken) == len(set(taken)), "two panels overlap"
    assert max(x for x, _ in taken) < 24
    for panel in panels:
        assert panel["type"] == "row" or panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert [label for _, label in variables()] == ["instance", "model"]


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    return [
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    ]


def test_the_scrape_target_is_the_admin_port() -> None:
    from fastpath.settings import Listen

    text = Path(PROMETHEUS / "prometheus.yml").read_text()
    assert f'"{Listen().admin_host}:{Listen().admin_port}"' in text
