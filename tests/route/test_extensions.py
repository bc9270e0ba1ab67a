"""Extensions: the example keeps the contract, the contract catches what breaks it, nothing they do ends a request."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastpath.route.extensions import Extensions, UnknownExtension, load_extensions
from fastpath.settings import ExtraScorer, Routing
from fastpath.testing import Candidate, Request, check_filter, check_picker, check_scorer
from tests.route.lineups import World, dropped, place

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "idle_scorer.py"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("idle_scorer", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


def test_the_example_keeps_the_contract() -> None:
    check_scorer(example())


def test_good_filters_and_pickers_keep_the_contract() -> None:
    check_filter(lambda request, candidates: [one.tier != "L0" for one in candidates])
    check_picker(lambda request, candidates: len(candidates) - 1)


def doze(request: Request, candidates: Sequence[Candidate]) -> list[float]:
    time.sleep(0.011)
    return [0.5] * len(candidates)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_scorer, lambda request, candidates: [0.5]),
        (check_scorer, lambda request, candidates: [1.5] * len(candidates)),
        (check_scorer, lambda request, candidates: [float("nan")] * len(candidates)),
        (check_scorer, lambda request, candidates: ["1"] * len(candidates)),
        (check_scorer, lambda request, candidates: [one.ttft for one in candidates]),
        (check_scorer, doze),
        (check_filter, lambda request, candidates: [1] * len(candidates)),
        (check_filter, lambda request, candidates: []),
        (check_picker, lambda request, candidates: len(candidates)),
        (check_picker, lambda request, candidates: None),
    ],
)
def test_the_contract_catches_what_breaks_it(check: Callable[[Any], None], broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)


def world(**extensions: Any) -> World:
    made = World(place("a", "L1", quality=0.9), place("b", "L1", quality=0.5), place("b2", "L1", quality=0.5))
    assert made.route.lineup is not None
    made.route.lineup.extensions = Extensions(**extensions)
    return made


def faults(made: World) -> dict[tuple[str, ...], int]:
    return {labels: count for (_, labels), count in made.metrics.all.items()}


def test_a_scorer_counts_what_it_weighs() -> None:
    def prefers_b(request: Request, candidates: Sequence[Candidate]) -> list[float]:
        assert request.model == "m"
        return [float(one.name == "b") for one in candidates]

    assert world(scorers=[("x", 0.05, prefers_b)]).decide().endpoint == "a"
    made = world(scorers=[("x", 0.3, prefers_b)])
    choice = made.decide()
    assert choice.endpoint == "b"
    assert faults(made) == {}
    totals = {one.endpoint: one.total for one in choice.scored}
    assert totals["b"] - totals["b2"] == pytest.approx(0.3), "what is told has the scorer in it"


def raises(request: Request, candidates: Sequence[Candidate]) -> Any:
    raise RuntimeError("a bug of somebody else")


@pytest.mark.parametrize(
    ("scorer", "fault"),
    [
        (raises, "raised"),
        (lambda request, candidates: [1.0], "length"),
        (lambda request, candidates: [float("nan"), 0, 0], "range"),
        (lambda request, candidates: [float("-inf"), 0, 0], "range"),
        (lambda request, candidates: [1, 1e300, float("inf")], "range"),
        (lambda request, candidates: [None, 0, 0], "range"),
        (lambda request, candidates: None, "raised"),
    ],
)
def test_a_wrong_scorer_is_put_right_and_counted(scorer: Any, fault: str) -> None:
    made = world(scorers=[("x", 0.1, scorer)])
    choice = made.decide()
    assert choice.endpoint is not None
    assert all(0 <= one.total <= 1.1 + 1e-9 for one in choice.scored)
    assert faults(made)["x", fault] >= 1


def test_filters_take_away_but_never_all() -> None:
    made = world(filters=[("no-a", lambda request, candidates: [one.name != "a" for one in candidates])])
    choice = made.decide()
    assert choice.endpoint in ("b", "b2")
    assert dropped(choice) == {"a": "capability/filter"}
    for broken, fault in ((lambda *_: [False] * 3, "nobody"), (raises, "raised"), (lambda *_: [True], "length")):
        made = world(filters=[("x", broken)])
        assert made.decide().endpoint == "a"
        assert faults(made) == {("x", fault): 1}
    one_each = [(name, lambda r, c, name=name: [one.name != name for one in c]) for name in ("a", "b", "b2")]
    made = world(filters=one_each)
    assert made.decide().endpoint == "b2", "together they would leave nobody, so the last of them is ignored"
    assert faults(made) == {("b2", "nobody"): 1}


def test_a_picker_picks_among_replicas() -> None:
    def last(request: Request, candidates: Sequence[Candidate]) -> int:
        assert {one.name for one in candidates} == {"b", "b2"}
        return len(candidates) - 1

    made = world(picker=("last", last))
    assert [made.decide(without=("a",)).endpoint for _ in range(3)] == ["b2"] * 3
    for broken, fault in (
        (raises, "raised"),
        (lambda *_: 2, "range"),
        (lambda *_: -1, "range"),
        (lambda *_: "b", "range"),
    ):
        made = world(picker=("x", broken))
        assert made.decide(without=("a",)).endpoint in ("b", "b2")
        assert faults(made) == {("x", fault): 1}


def test_extensions_are_found_by_name_or_said_to_be_missing() -> None:
    assert load_extensions(Routing()) is None
    found = load_extensions(Routing(scorers=(ExtraScorer(name="idle", weight=0.1),)), lambda sort, name: (sort, name))
    assert found is not None
    assert found.scorers == (("idle", 0.1, ("scorer", "idle")),)
    with pytest.raises(UnknownExtension, match=r"no installed package has a filter 'nope'"):
        load_extensions(Routing(filters=("nope",)))
