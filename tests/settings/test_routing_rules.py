"""Routing in a settings file: weights that are 1 together, a pin that is there, limits in their order."""

import textwrap

import pytest

from fastpath.settings.file import load
from fastpath.settings.problem import SettingsError

MODEL = """
models:
  - name: m
    endpoints: [{url: "http://127.0.0.1:9001/v1", name: a, tier: L1}]
"""


def problems(text: str, model: str = "") -> list[str]:
    whole = MODEL + textwrap.indent(textwrap.dedent(model), "    ") + textwrap.dedent(text)
    try:
        load(whole, {}, "fastpath.yaml")
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("text", "model", "expected"),
    [
        ("", "", None),
        ("routing: {weights: {safety: 0.5, capability: 0.2, latency: 0.2, cost: 0.1}}", "", None),
        ("routing: {weights: {safety: 0.5}}", "", "adds up to 1.1"),
        ("routing: {scorers: [{name: idle, weight: 0.1}]}", "", "adds up to 1.1"),
        ("routing: {weights: {safety: 0.3}, scorers: [{name: idle, weight: 0.1}]}", "", None),
        ("routing: {overflow_wait: 1, overflow_back: 3}", "", "overflow_back larger"),
        ("routing: {overflow_wait: 0.5}", "", "overflow_back larger"),
        ("", "strategy: pinned\npin: a\n", None),
        ("", "strategy: pinned\n", "needs the name of an endpoint"),
        ("", "pin: a\n", "has no effect unless"),
        ("", "strategy: pinned\npin: b\n", "is no endpoint of this model"),
        ("", "strategy: pinned\npin: a\nscenario: chat\n", "has no effect where the strategy is pinned"),
        ("", "strategy: cheapest\n", "strategy"),
        ("routing: {safety: {P0: {L2: 1.5}}}", "", "P0"),
    ],
)
def test_rules(text: str, model: str, expected: str | None) -> None:
    found = problems(text, model)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1, found
        assert expected in found[0]
