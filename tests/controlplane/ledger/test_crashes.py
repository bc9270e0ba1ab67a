"""The ledger as a state machine, with a crash between any two statements of any act."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.corrections import Adjustment, LedgerError, Order, Receipt, Refund
from controlplane.ledger.reconciliation import Statement
from controlplane.ledger.statement import Line
from controlplane.ledger.tables import Book
from controlplane.store.database import Database
from fastpath.money.price import Billable
from fastpath.outbox.facts import Fact, Payer
from tests.controlplane.ledger.crashes import Fuse, Planted
from tests.controlplane.ledger.facts import (
    ALWAYS,
    CHARGE,
    COST,
    SECRET,
    Now,
    delivered,
    end,
    failed,
    intent,
    mark,
    request_id,
)
from tests.controlplane.store.cluster import Cluster

REQUESTS = range(5)
MARKED = Billable(input=1_000, output=50)
CRASH = st.one_of(st.none(), st.integers(0, 24))


def payer(number: int) -> Payer:
    return Payer(f"tenant-{number}", "team", "", "key")


def script(number: int) -> list[Fact]:
    """All facts of a request. Its end is never less than its mark, so that no correction meets a refund's bound."""
    who = payer(number)
    if number % 2:
        return [
            intent(number, 1, payer=who),
            intent(number, 2, payer=who),
            mark(number, 2, MARKED),
            end(number, failed(1), delivered(2), payer=who),
        ]
    return [intent(number, payer=who), mark(number, 1, MARKED), end(number, payer=who)]


SCRIPTS = [fact for number in REQUESTS for fact in script(number)]


class Books(RuleBasedStateMachine):
    """What a deployment may go through. At its end all facts are told once more, and all must be as if nothing was."""

    make_url: ClassVar[Callable[[Path], str]]

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        self._runner = asyncio.Runner()
        self._database = self._runner.run(Database.open(type(self).make_url(self._folder)))
        self._fuse = Fuse(self._database)
        self._ledger = Ledger(self._database, SECRET, now=Now())
        self._orders: dict[str, Order] = {}
        self._done: dict[str, Receipt] = {}
        self._stated: dict[int, int] = {}

    @rule(facts=st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=12), crash=CRASH)
    def settle(self, facts: list[Fact], crash: int | None) -> None:
        self._act(lambda: self._ledger.settlement.settle(facts), crash)

    @rule(numbers=st.sets(st.sampled_from(REQUESTS), min_size=1), crash=CRASH)
    def abandon(self, numbers: set[int], crash: int | None) -> None:
        self._act(lambda: self._ledger.settlement.settle_abandoned([request_id(n) for n in numbers]), crash)

    @rule(number=st.sampled_from(REQUESTS), token=st.sampled_from("abc"), amount=st.integers(1, CHARGE), crash=CRASH)
    def refund(self, number: int, token: str, amount: int, crash: int | None) -> None:
        name = f"refund {number} {token}"
        order = Refund(request=request_id(number), token=token, reason="r", actor="a", amount=amount)
        self._order(name, order, crash)

    @rule(number=st.sampled_from(REQUESTS), token=st.sampled_from("abc"), amount=st.integers(-500, 500), crash=CRASH)
    def adjust(self, number: int, token: str, amount: int, crash: int | None) -> None:
        name = f"adjust {number} {token}"
        order = Adjustment(
            request=request_id(number), token=token, reason="r", actor="a", book=Book.CHARGE, amount=amount
        )
        self._order(name, order, crash)

    @rule(number=st.sampled_from(REQUESTS), amount=st.integers(0, 9_999), crash=CRASH)
    def reconcile(self, number: int, amount: int, crash: int | None) -> None:
        self._stated[number] = amount
        self._act(lambda: self._state(number), crash)

    @invariant()
    def holds(self) -> None:
        assert self._runner.run(self._ledger.violations()) == []

    def teardown(self) -> None:
        try:
            self._finish()
        finally:
            self._runner.run(self._database.close())
            self._runner.close()
            shutil.rmtree(self._folder)

    def _finish(self) -> None:
        """As after any crash: what was sent is sent again."""
        assert self._act(lambda: self._ledger.settlement.settle(SCRIPTS), None)
        for name, order in list(self._orders.items()):  # one that is refused now is taken out
            if name not in self._done:
                self._order(name, order, None)
        for number in self._stated:
            assert self._act(lambda number=number: self._state(number), None)
        assert self._runner.run(self._ledger.violations(at_rest=True)) == []
        for number in REQUESTS:
            (balance,) = self._runner.run(self._ledger.balances(Subject(f"tenant-{number}"), ALWAYS))
            orders = {name: receipt.amount for name, receipt in self._done.items() if name.split()[1] == str(number)}
            change = sum(-amount if name[0] == "r" else amount for name, amount in orders.items())
            assert balance.charge == CHARGE + change
            assert balance.cost == self._stated.get(number, COST)
            assert (balance.requests, balance.input_tokens, balance.output_tokens) == (1, 1_000, 200)

    def _state(self, number: int) -> Awaitable[Any]:
        line = Line(request_id(number), 2 if number % 2 else 1, "USD", self._stated[number])
        return self._ledger.reconciler.reconcile(Statement("s", "openai-1", [line]))

    def _order(self, name: str, order: Refund | Adjustment | Order, crash: int | None) -> None:
        """An order of this name is sent as it was first sent, until it is known what became of it."""
        order = self._orders.setdefault(name, order)
        corrections = self._ledger.corrections

        async def give() -> None:
            try:
                if isinstance(order, Refund):
                    self._done[name] = await corrections.refund(order)
                elif isinstance(order, Adjustment):
                    self._done[name] = await corrections.adjust(order)
            except LedgerError:
                if name not in self._done:
                    self._orders.pop(name)  # refused: nothing happened

        self._act(give, crash)

    def _act(self, act: Callable[[], Awaitable[Any]], crash: int | None) -> bool:
        async def run() -> None:
            await act()

        try:
            with self._fuse.lit(crash):
                self._runner.run(run())
        except Planted:
            return False
        return True


def _check(make_url: Callable[[Path], str], examples: int) -> None:
    machine = type("BooksHere", (Books,), {"make_url": staticmethod(make_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )


@pytest.mark.timeout(600)
def test_on_sqlite(migrated_file: Path) -> None:
    def make_url(folder: Path) -> str:
        shutil.copy(migrated_file, folder / "ledger.db")
        return f"sqlite:///{folder / 'ledger.db'}"

    _check(make_url, 25)


@pytest.mark.timeout(600)
def test_on_postgresql(cluster: Cluster, migrated: str) -> None:
    _check(lambda _folder: cluster.url(cluster.create_database(migrated)), 12)
