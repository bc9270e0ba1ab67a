"""The ledger under kills: what is drawn, and a small run on each store whose books must add up."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from backends.mock.statement import Charged, Line, read_log, render, state
from controlplane.ledger.statement import parse_statement
from loadtest.checker.accounts import Accounts, Bound
from loadtest.ledger.figures import figures_of
from loadtest.ledger.figures import render as render_figures
from loadtest.ledger.order import FAULTS, HELD, Order, draw, draw_kills, load_of
from loadtest.ledger.run import run
from loadtest.ledger.traffic import Traffic
from loadtest.postgres import Cluster
from scheduler.clock import SystemClock

ORDER = Order(seed=11, n=300, kills=6, bound=Bound(tenant=HELD, per_second=3.0, burst=2), places=2)
"""Held so short that some of its requests are refused on the slowest machine, too."""
FIRST, SECOND = "a" * 32, "b" * 32


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def test_same_seed_same_requests_and_kills() -> None:
    load = load_of(ORDER, "http://127.0.0.1:1/v1", "")
    other = msgspec.structs.replace(ORDER, seed=12)
    assert [draw(ORDER, load, n) for n in range(50)] == [draw(ORDER, load, n) for n in range(50)]
    assert draw(ORDER, load, 7) != draw(other, load_of(other, load.target, ""), 7)
    assert draw_kills(ORDER) == draw_kills(ORDER) != draw_kills(other)
    assert [kill.at for kill in draw_kills(ORDER)] == sorted(kill.at for kill in draw_kills(ORDER))


def test_every_fault_and_every_tenant_is_drawn() -> None:
    order = msgspec.structs.replace(ORDER, n=1_000)
    load = load_of(order, "http://127.0.0.1:1/v1", "")
    asks = [draw(order, load, n) for n in range(order.n)]
    drawn = {str(msgspec.json.decode(ask.plan.body).get("mock")) for ask in asks}
    assert drawn == {str(fault) for fault in FAULTS}
    assert {ask.tenant for ask in asks} == {"free", HELD}
    assert {ask.plan.phase for ask in asks} == {None, "sent", "waiting", "streaming", "buffered"}


# -- the mock's statement


def charged(request: str, at: float, charge: int) -> Charged:
    return Charged(headers=[("host", "x"), ("x-request-id", f"req_{request}")], at=at, charge=charge)


def test_attempts_are_counted_by_who_was_asked_first() -> None:
    stranger = Charged(headers=[("x-request-id", "mine")], charge=9)
    lines = state(
        [
            ("one", [charged(FIRST, 1.0, 5), charged(SECOND, 2.5, 7), charged(FIRST, 1.1, 5), stranger]),
            ("two", [charged(SECOND, 2.0, 0), charged(FIRST, 3.0, 11)]),
        ]
    )
    assert lines == [
        Line("one", FIRST, 1, 10),
        Line("two", FIRST, 2, 11),
        Line("two", SECOND, 1, 0),
        Line("one", SECOND, 2, 7),
    ]


def test_a_statement_is_read_by_reconcile_and_half_a_line_is_none(tmp_path: Path) -> None:
    log = tmp_path / "mock.jsonl"
    whole = msgspec.json.encode({"headers": [["x-request-id", f"req_{FIRST}"]], "at": 1.0, "charge": 1_000_000_007})
    log.write_bytes(whole + b"\n" + whole[:40])
    text = render(state([("one", read_log(log))]), "EUR")
    lines, bad = parse_statement(text.splitlines())
    assert [(line.request.hex(), line.attempt, line.amount, line.currency) for line in lines] == [
        (FIRST, 1, 1_000_000_007, "EUR")
    ]
    assert bad == []


# -- whole runs


def assert_told(books: Accounts) -> None:
    """That the run met what it is about: a run in which nothing happened proves nothing."""
    outcomes = Counter(one.outcome for one in books.requests)
    assert min(outcomes[name] for name in ("complete", "broken", "client_left", "error", "refused", "abandoned")) > 0
    assert any(one.verdict == "corrected" for one in books.differences)
    assert any(one.verdict == "unbilled" for one in books.differences)
    assert any(one.attempts > 1 for one in books.requests)
    assert books.debits > 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
async def test_F33_after_kills_the_books_add_up(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = None
    if store == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.url(cluster.create_database())
    outcome = await run(ORDER, tmp_path, SystemClock(), url)
    assert outcome.violations == []
    assert len(outcome.clients) == ORDER.n
    assert len(outcome.killed) == ORDER.kills
    assert_told(outcome.accounts)
    figures = figures_of(ORDER, outcome)
    assert figures.stated == sum(sum(one.costs.values()) for one in outcome.accounts.requests)
    assert figures.booked_before != figures.stated
    assert "6 workers killed" in render_figures(figures)


async def test_a_killer_whose_node_does_not_come_back_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = SimpleNamespace(url="http://127.0.0.1:9/v1", lines=["the last words"])
    nobody = SimpleNamespace(keys={"free": "k", HELD: "k"}, node=node, workers=list)
    monkeypatch.setattr("loadtest.ledger.traffic.WAIT_S", 0.05)
    traffic = Traffic(nobody, Order(seed=1, n=40, kills=1), SystemClock())  # type: ignore[arg-type]  # a stand-in
    with pytest.raises(ExceptionGroup) as caught:
        await traffic.run()
    assert "the last words" in str(caught.value.exceptions[0])
