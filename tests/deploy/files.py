"""The files of deploy/ as data: every query of the dashboard and every rule, and what metrics they name."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fastpath.observe.families import FAMILIES

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "fastpath.json"
PROMETHEUS = DEPLOY / "prometheus"

# What Grafana fills in, for a Prometheus that scrapes every half second.
_VARIABLES = {"$__rate_interval": "10s", '"$instance"': '".*"', '"$model"': '".*"'}

_NOT_METRICS = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on)\s*\([^)]*\)')
_WORDS = {
    "and",
    "or",
    "unless",
    "sum",
    "min",
    "max",
    "count",
    "rate",
    "increase",
    "changes",
    "histogram_quantile",
    "vector",
}
_COMPARISON = re.compile(r"\s(?:==|!=|<=|>=|<|>)\s")


class Query(msgspec.Struct, frozen=True):
    """One question to Prometheus, and where it stands."""

    place: str
    expression: str


class Rule(msgspec.Struct, frozen=True):
    """One alert."""

    name: str
    expression: str

    def sides(self) -> Iterator[Query]:
        """What the alert compares, without the comparisons: each must have data whether the alert fires or not."""
        for condition in self.expression.split(" and "):
            for side in _COMPARISON.split(condition):
                if not re.fullmatch(r"[\d.]+", side.strip()):
                    yield Query(f"alert {self.name}", side.strip())


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def dashboard_queries() -> list[Query]:
    """Every target of every panel, ready to be asked."""
    return [
        Query(f"panel {panel['title']!r}", _fill_in(target["expr"]))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def annotations() -> list[Query]:
    """The events that are drawn into the panels: nothing to be seen on a good day."""
    return [Query(f"annotation {note['name']}", _fill_in(note["expr"])) for note in dashboard()["annotations"]["list"]]


def variables() -> list[tuple[str, str]]:
    """(selector, label) of each variable that is filled from label values."""
    found = [one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    matches = [re.fullmatch(r"label_values\((.*), (\w+)\)", query) for query in found]
    return [(_fill_in(match[1]), match[2]) for match in matches if match]


def rules() -> list[Rule]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [Rule(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(re.findall(r"[a-zA-Z_:][\w:]*", _NOT_METRICS.sub(" ", expression))) - _WORDS


def samples() -> set[str]:
    """The name of every sample that a gateway shows, and Prometheus's own `up`."""
    names = {"up"}
    for family in FAMILIES:
        parts = ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("",)
        names.update(family.name + part for part in parts)
    return names


def _fill_in(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
