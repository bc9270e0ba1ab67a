"""The leak run in small, and the parts that it judges by: a canary that is there is found, in whatever form."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.residency.__main__ import REASONS, holds
from loadtest.residency.canary import FORMS, SIZE, find
from loadtest.residency.issuer import make_key_set, make_token
from loadtest.residency.order import make_asks
from loadtest.residency.run import House, Outcome, judge_run, run

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


@pytest.mark.parametrize("where", ["issuer", "cloud", "nowhere"])
def test_what_an_identity_provider_was_asked_is_searched_too(tmp_path: Path, where: str) -> None:
    """What came there may hold no canary, and something must have come for a token, or that way was not tried."""
    (ask,) = make_asks(3, 1, REASONS["P0"])
    house: Any = House(tmp_path, 3)
    house.names = SimpleNamespace(asked=[])
    question = b"GET /keys?kid=%s HTTP/1.1\r\n\r\n"
    house.issuer.connections = 1 if where == "nowhere" else 2
    if where != "nowhere":
        house.issuer.received += question % (ask.canary.encode() if where == "issuer" else b"x")
    house.traps[0].received += ask.canary.encode() if where == "cloud" else b""
    outcome = Outcome()
    judge_run(house, [ask], outcome)
    told = {"issuer": "reached an identity provider", "cloud": "reached a cloud"}
    assert {told.get(where, "") in leak for leak in outcome.leaks} == ({True} if where in told else set())
    assert bool(outcome.wrong) == (where == "nowhere")


def test_a_token_is_full_of_the_secret_and_names_a_key_that_is_not_there() -> None:
    header, claims, _ = make_token("http://127.0.0.1:1/", CANARY).split(".")
    for part in (header, claims):
        assert find(part.encode(), CANARY)
    assert CANARY.encode() not in make_key_set()
