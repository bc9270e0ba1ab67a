"""A crossing becomes a fact of the outbox, also when whoever noted it was killed before it told, or had no room."""

from collections.abc import Callable

from fastpath.account.notices import MOST_KEPT, Notices
from fastpath.limits.admission import admit
from fastpath.limits.thresholds import Crossing
from fastpath.outbox.facts import Alert, decode_message
from scheduler.clock import ManualClock
from tests.limits.conftest import Gate

BUDGET = """
tenants:
  - name: acme
    currency: EUR
    budgets: [{name: b, amount: 10, period: month, thresholds: [{percent: 50}, {percent: 80}]}]
keys:
  - {name: k, hash: HASH, tenant: acme}
  - {name: other, hash: HASH, tenant: acme}
"""


class Outbox:
    """Takes records while it has room."""

    def __init__(self) -> None:
        self.room = True
        self.alerts: list[Alert] = []

    def put(self, record: bytes) -> bool:
        if self.room:
            found = decode_message(record)
            assert isinstance(found, Alert)
            self.alerts.append(found)
        return self.room


def worker(gate: Gate, notices: Notices, key: str = "k") -> Callable[[int], None]:
    """Spends by a plan of its own, as another worker does, and notes what is told."""
    plan = gate.book.plan(key, "llama")

    def spend(money: int) -> None:
        now, wall = gate.clock.monotonic(), gate.clock.now()
        ticket = admit(plan, now, wall, 0, 0, money, notices.note)
        assert ticket.settle(now, 0, 0, money)  # type: ignore[union-attr]  # it is admitted, or the test fails

    return spend


def test_a_crossing_is_a_fact_with_the_names_of_the_ledger(gate: Callable[..., Gate], clock: ManualClock) -> None:
    outbox = Outbox()
    spend = worker(gate(BUDGET), Notices(outbox.put, clock))
    spend(4_999_999_999)
    assert outbox.alerts == []
    spend(3_500_000_000)
    assert [one.percent for one in outbox.alerts] == [50, 80]
    assert outbox.alerts[0] == Alert(
        ts=clock.now(),
        tenant="acme",
        scope="tenant",
        owner=("acme",),
        budget="b",
        kind="money",
        currency="EUR",
        percent=50,
        action="warn",
        spent=8_499_999_999,
        whole=10_000_000_000,
        span="month",
        days=1,
        period=20_697,
    )


def test_what_a_killed_worker_noted_and_never_told_the_next_one_tells(
    gate: Callable[..., Gate], clock: ManualClock
) -> None:
    node, outbox, told = gate(BUDGET), Outbox(), list[Crossing]()

    def killed(crossing: Crossing) -> None:
        told.append(crossing)  # its mark is in the arena; nothing reached the outbox

    plan = node.book.plan("k", "llama")
    ticket = admit(plan, clock.monotonic(), clock.now(), 0, 0, 5_000_000_000, killed)
    assert ticket.settle(clock.monotonic(), 0, 0, 5_000_000_000)  # type: ignore[union-attr]
    assert [one.first for one in told] == [True]
    spend = worker(node, Notices(outbox.put, clock))
    spend(1)
    assert [one.percent for one in outbox.alerts] == [50]


def test_a_worker_tells_each_once_however_many_keys_it_meets_it_by(
    gate: Callable[..., Gate], clock: ManualClock
) -> None:
    node, outbox = gate(BUDGET), Outbox()
    notices = Notices(outbox.put, clock)
    worker(node, notices)(6_000_000_000)
    worker(node, notices, "other")(1)
    worker(node, notices, "other")(1)
    assert [one.percent for one in outbox.alerts] == [50]


def test_what_finds_no_room_waits(gate: Callable[..., Gate], clock: ManualClock) -> None:
    outbox = Outbox()
    notices = Notices(outbox.put, clock)
    outbox.room = False
    spend = worker(gate(BUDGET), notices)
    spend(5_000_000_000)
    spend(3_000_000_000)
    assert outbox.alerts == []
    notices.flush()
    outbox.room = True
    notices.flush()
    assert [one.percent for one in outbox.alerts] == [50, 80]
    notices.flush()
    assert len(outbox.alerts) == 2


def test_memory_is_bounded(gate: Callable[..., Gate], clock: ManualClock) -> None:
    outbox = Outbox()
    outbox.room = False
    notices = Notices(outbox.put, clock)
    shape = {"action": "warn", "kind": "money", "currency": "EUR", "spent": 1, "whole": 2}
    for number in range(MOST_KEPT + 10):
        notices.note(Crossing("key", (str(number),), "b", 50, period=1, **shape))  # type: ignore[arg-type]
    outbox.room = True
    notices.flush()
    assert len(outbox.alerts) == MOST_KEPT
