"""The leak run in small, and the parts that it judges by: a canary that is there is found, in whatever form."""

import asyncio
import json
from pathlib import Path

import pytest

from loadtest.residency.__main__ import REASONS, holds
from loadtest.residency.canary import FORMS, SIZE, find
from loadtest.residency.order import make_asks
from loadtest.residency.run import Outcome, run

CANARY = "Abcdefghij23456789klmnopqrstuvwx"
COUNTS = {"both": 300, "gate": 150, "none": 60}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", ["", "x", "xy", "xyz "])
def test_a_canary_is_found_in_every_form(form: str, before: str) -> None:
    data = b'{"a": "' + before.encode() + FORMS[form](CANARY).encode() + b'"}'
    assert find(data, CANARY)
    assert not find(data, CANARY[::-1])


def test_a_compressed_body_is_looked_into() -> None:
    import gzip

    body = b"POST / HTTP/1.1\r\n\r\n" + gzip.compress(json.dumps({"prompt": CANARY}).encode()) + b"tail"
    assert find(body, CANARY) == {"gzip"}


def test_requests_are_the_same_for_the_same_seed_and_cover_all() -> None:
    asks = list(make_asks(7, 400, REASONS["P0"]))
    assert asks == list(make_asks(7, 400, REASONS["P0"]))
    assert asks != list(make_asks(8, 400, REASONS["P0"]))
    assert len({ask.canary for ask in asks}) == 400
    assert {len(ask.canary) for ask in asks} == {SIZE}
    assert {ask.form for ask in asks} == set(FORMS)
    assert {ask.reason for ask in asks} == set(REASONS["P0"])
    assert len({ask.path for ask in asks}) == 6


@pytest.mark.parametrize("walls", COUNTS)
@pytest.mark.parametrize("what", REASONS)
def test_nothing_leaves_but_where_both_walls_are_down(tmp_path: Path, what: str, walls: str) -> None:
    asks = list(make_asks(2, COUNTS[walls], REASONS[what]))
    outcome = asyncio.run(run(asks, tmp_path, walls, 2))
    assert holds(walls, outcome, len(asks)), (outcome.leaks[:5], outcome.wrong[:5])
    assert outcome.reloads > 3


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(asked=9),
        Outcome(asked=10, leaks=["x"]),
        Outcome(asked=10, wrong=["x"]),
        Outcome(asked=10, violations=1),
    ],
)
def test_a_run_that_shows_less_does_not_pass(outcome: Outcome) -> None:
    assert holds("both", Outcome(asked=10), 10)
    assert not holds("both", outcome, 10)
    assert not holds("gate", Outcome(asked=10), 10), "a gate that stopped nothing was not asked"
    assert not holds("none", Outcome(asked=10), 10)
