"""The checks over the books: a clean run passes, and each planted violation of J1, J2, J3 and J9 is found and named."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest.checker import INVARIANTS
from loadtest.checker.accounts import Account, Accounts, Bound, Difference, Held, Stated
from loadtest.checker.allowance import Allowance, Permit
from loadtest.checker.history import AccessLine, ClientLine, History

ROOT = Path(__file__).parents[2]
RATE = 10.0
Plant = Callable[[History], object]


def rid(name: str) -> str:
    """A request's id: 32 hex digits."""
    return name.encode().hex().ljust(32, "0")


def account(name: str, /, **fields: Any) -> Account:
    made = Account(request=rid(name), tenant="acme", admitted=100.0, attempts=1, outcome="complete", reserved=500)
    made.charges, made.costs = {1: 90}, {1: 90}
    return msgspec.structs.replace(made, **fields)


def access(name: str, /, **fields: Any) -> AccessLine:
    line = AccessLine(id=f"req_{rid(name)}", label=name, status=200, attempts=1, outcome="complete", cost_nano=90)
    return msgspec.structs.replace(line, **fields)


def client(name: str, /, **fields: Any) -> ClientLine:
    line = ClientLine(tag=name, stream=False, started=100.0, ended=101.0, outcome="complete", status=200)
    return msgspec.structs.replace(line, **{"id": f"req_{rid(name)}"} | fields)


def clean() -> History:
    """The kinds of request that a run with kills may leave behind, and a tenant at its limit."""
    crowd = [f"crowd-{n}" for n in range(20)]
    broken = {"outcome": "cut", "id": None, "status": None}
    return History(
        clients=[
            client("whole"),
            client("retried"),
            client("capped"),
            client("broken", outcome="error"),
            client("refused", outcome="error", status=429),
            client("killed", **broken),
            client("lost", **broken),
        ],
        access=[
            access("whole"),
            access("retried", attempts=2, cost_nano=50),
            access("capped", cost_nano=9_000),
            access("broken", outcome="broken", cost_nano=30),
            access("refused", status=429, attempts=0, outcome="refused", cost_nano=None),
            *(access(name, label=None) for name in crowd),
            AccessLine(id="req_probe", path="/v1/models", status=200, outcome="complete"),
        ],
        accounts=Accounts(
            requests=[
                account("whole"),
                account("retried", attempts=2, charges={2: 50}, costs={1: 7, 2: 50}),
                account("capped", charges={1: 500}, costs={1: 480}),
                account("broken", outcome="broken", charges={1: 30}, costs={1: 44}),
                account("refused", attempts=0, outcome="refused", reserved=0, charges={}, costs={}),
                account("killed", outcome="abandoned", charges={1: 12}, costs={1: 20}),
                account("lost", outcome="client_left", charges={}, costs={1: 0}),
                *(account(name, tenant="held", admitted=200.0 + max(0, n - 5) / RATE) for n, name in enumerate(crowd)),
            ],
            stated=[
                Stated("e0", rid("whole"), 1, 90),
                Stated("e0", rid("retried"), 1, 7),
                Stated("e1", rid("retried"), 2, 50),
                Stated("e0", rid("capped"), 1, 480),
                Stated("e0", rid("broken"), 1, 44),
                Stated("e0", rid("killed"), 1, 20),
                *(Stated("e0", rid(name), 1, 90) for name in crowd),
            ],
            differences=[
                Difference("e0", rid("retried"), 1, "unbilled", 0, 7),
                Difference("e0", rid("capped"), 1, "corrected", 500, 480),
                Difference("e0", rid("lost"), 1, "missing", 9, 0),
            ],
            debits=5_000,
            credits=5_000,
            bounds=[Bound(tenant="held", per_second=RATE, burst=5)],
        ),
        allowance=Allowance(permits=(Permit(begin=99.0, end=101.0, cuts=True, unrecorded=True),)),
    )


def books(history: History) -> Accounts:
    assert history.accounts is not None
    return history.accounts


def change(name: str, **fields: Any) -> Plant:
    """Changes a request of the books."""

    def plant(history: History) -> None:
        rows = books(history).requests
        at = next(n for n, one in enumerate(rows) if one.request == rid(name))
        rows[at] = msgspec.structs.replace(rows[at], **fields)

    return plant


def drop(name: str) -> Plant:
    """Takes a request out of the books."""

    def plant(history: History) -> None:
        books(history).requests = [one for one in books(history).requests if one.request != rid(name)]

    return plant


def whole(**fields: Any) -> Plant:
    """Changes the books as a whole."""

    def plant(history: History) -> None:
        history.accounts = msgspec.structs.replace(books(history), **fields)

    return plant


def held(**fields: int) -> Plant:
    return whole(held=Held(**fields))


def state(name: str, amount: int, attempt: int = 1) -> Plant:
    return lambda history: books(history).stated.append(Stated("e0", rid(name), attempt, amount))


def differ(*names: str, **fields: Any) -> Plant:
    made = [msgspec.structs.replace(Difference("e0", rid(n), 1, "corrected", 1, 2), **fields) for n in names]
    return lambda history: books(history).differences.extend(made)


def log(**fields: Any) -> Plant:
    """Changes the access record of `whole`."""

    def plant(history: History) -> None:
        history.access[0] = msgspec.structs.replace(history.access[0], **fields)

    return plant


def hurry(history: History) -> None:
    """The crowd comes twice as fast as its limit lets it."""
    for one in books(history).requests:
        one.admitted = 200.0 + (one.admitted - 200.0) / 2


def permit_nothing(history: History) -> None:
    history.allowance = Allowance()


PLANTED: dict[str, tuple[str, Plant, str, str]] = {
    "debits that are no credits": ("J1", whole(debits=4_999), "books", "debits are 4999, credits 5000"),
    "what the ledger itself finds": ("J1", whole(findings=["J1 acme: the balance"]), "books", "the balance"),
    "a cost too high": (
        "J1",
        change("whole", costs={1: 91}),
        f"request {rid('whole')}/1",
        "states 90, the books say 91",
    ),
    "a cost lost": ("J1", change("whole", costs={}), f"request {rid('whole')}/1", "states 90, the books say 0"),
    "a cost of nothing": ("J1", change("lost", costs={1: 3}), f"request {rid('lost')}/1", "states 0, the books say 3"),
    "a cost under another attempt": (
        *("J1", change("retried", costs={1: 50, 2: 7}), f"request {rid('retried')}/2", "states 50, the books say 7"),
    ),
    "a charge twice as high": ("J1", change("whole", charges={1: 180}), f"request {rid('whole')}", "owes 90"),
    "a charge lost": ("J1", change("broken", charges={}), f"request {rid('broken')}", "charged 0, owes 30"),
    "a charge for a refusal": ("J1", change("refused", charges={1: 5}), f"request {rid('refused')}", "owes 0"),
    "a charge beyond the reservation": (
        *("J1", change("killed", charges={1: 501}), f"request {rid('killed')}", "more than the 500"),
    ),
    "a charge below zero": ("J1", change("killed", charges={1: -1}), f"request {rid('killed')}", "charged -1"),
    "a difference listed twice": ("J1", differ("capped"), f"request {rid('capped')}/1", "listed 2 times"),
    "a difference the second time": (
        *("J1", differ("whole", again=True), f"request {rid('whole')}/1", "compared again: corrected"),
    ),
    "a line of no request": (
        *("J1", differ("ghost", verdict="unknown_request"), f"request {rid('ghost')}/1", "unknown_request"),
    ),
    "a request twice": (
        "J2",
        lambda history: books(history).requests.append(account("whole")),
        f"request {rid('whole')}",
        "2 times",
    ),
    "a request without an end": ("J2", change("whole", over=False), f"request {rid('whole')}", "no terminal record"),
    "two attempts charged": (
        *("J2", change("retried", charges={1: 7, 2: 50}), f"request {rid('retried')}", "attempts [1, 2] are charged"),
    ),
    "sent without an Intent": ("J2", state("ghost", 0), f"request {rid('ghost')}/1", "do not know of it"),
    "an attempt without an Intent": ("J2", state("whole", 0, 2), f"request {rid('whole')}/2", "do not know of it"),
    "a whole answer that was abandoned": (
        *("J2", change("whole", outcome="abandoned"), "client whole", "got a complete answer, the books say abandoned"),
    ),
    "a whole answer that is in no book": ("J2", drop("whole"), "client whole", "the books say nothing"),
    "another outcome": ("J2", log(outcome="client_left"), f"access req_{rid('whole')}", "client_left, the books"),
    "a logged request that is in no book": ("J2", drop("broken"), f"access req_{rid('broken')}", "1 attempts, and"),
    "a request in no log": ("J2", permit_nothing, f"request {rid('lost')}", "in no access log"),
    "a lease": ("J3", held(leases=1), "arena", "1 leases"),
    "a place": ("J3", held(places=2), "arena", "2 places"),
    "a reservation in the arena": ("J3", held(reserved=7), "arena", "7 nano-units or tokens"),
    "an open request": ("J3", held(open=1), "books", "1 requests open"),
    "money set aside": ("J3", held(open_reserved=9), "books", "9 nano-units"),
    "twice the limit": ("J9", hurry, f"tenant held, request {rid('crowd-19')}", "beyond 10/s"),
}


def violations(history: History) -> dict[str, list[tuple[str, str]]]:
    return {each.name: [(v.record, v.reason) for v in each.check(history)] for each in INVARIANTS}


def of_books(history: History) -> dict[str, list[tuple[str, str]]]:
    """J7 wants the model servers' logs, which these histories have not."""
    return {name: found for name, found in violations(history).items() if name in ("J1", "J2", "J3", "J9")}


def test_a_clean_run_passes() -> None:
    assert of_books(clean()) == {"J1": [], "J2": [], "J3": [], "J9": []}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_flagged(name: str) -> None:
    invariant, plant, record, reason = PLANTED[name]
    history = clean()
    plant(history)
    found = violations(history)[invariant]
    assert [seen for seen, why in found if reason in why] == [record], found


def test_each_invariant_of_the_books_has_planted_violations() -> None:
    assert {invariant for invariant, *_ in PLANTED.values()} == {"J1", "J2", "J3", "J9"}


def test_a_burst_and_the_rate_may_be_used_to_the_full() -> None:
    moments = [one.admitted for one in books(clean()).requests if one.tenant == "held"]
    assert len(moments) == 20
    assert max(moments) - min(moments) == pytest.approx(1.4)  # 15 in 1.5 s, and 5 at once


def test_the_command_judges_the_books(tmp_path: Path) -> None:
    history = clean()
    held(leases=3)(history)
    (tmp_path / "accounts").write_bytes(msgspec.json.encode(history.accounts))
    command = [sys.executable, "-m", "loadtest.checker", "--accounts", str(tmp_path / "accounts")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "J1               held" in done.stdout
    assert "arena: 3 leases" in done.stdout
    assert done.stdout.count("not checked") == 4
