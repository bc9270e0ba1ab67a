"""Permits: each excuses what it says, for the requests that met it, and nothing else."""

from typing import Any

import msgspec
import pytest

from loadtest.checker import INVARIANTS
from loadtest.checker.allowance import Allowance, Permit
from loadtest.checker.history import AccessLine, ClientLine, History, MockLine

ERROR = '{"error":{"message":"the pool is empty","type":"server_error","param":null,"code":"upstream_error"}}'
IN_BAND = '{"error":{"message":"the upstream left","type":"server_error","code":"upstream_disconnected"}}'

LINE = ClientLine(tag="t", stream=True, started=10.0, ended=11.0, outcome="cut", status=200)
ANSWER = msgspec.structs.replace(LINE, outcome="complete", terminal=True, content={0: "one"}, content_sha256="s")
RECORD = AccessLine(id="r", label="t", status=200, attempts=1, outcome="client_left")
WHOLE = msgspec.structs.replace(RECORD, outcome="complete")
SENT = MockLine(id=1, tag="t", received=10.1, status=200, stream=True, content={0: "one"}, sha256_sent="s")
BROKEN = msgspec.structs.replace(LINE, outcome="error", terminal=True, error=IN_BAND)
REFUSED = msgspec.structs.replace(
    LINE, outcome="error", status=502, error=ERROR, content_type="application/json", stream=False
)


def history(client: ClientLine, access: list[AccessLine], mock: list[MockLine], *permits: Permit) -> History:
    allowance = Allowance(errors=False, permits=permits, upstreams=2)
    return History(clients=[client], access=access, mock=mock, allowance=allowance)


def broken(found: History) -> set[str]:
    return {one.name for one in INVARIANTS if one.check(found)}


CASES: dict[str, tuple[str, ClientLine, list[AccessLine], list[MockLine], list[dict[str, Any]]]] = {
    "a cut answer": ("J7", LINE, [RECORD], [SENT], [{"cuts": True}]),
    "a hang-up": ("J7", msgspec.structs.replace(LINE, status=None), [RECORD], [], [{"hangups": True}]),
    "no connection": ("J7", msgspec.structs.replace(LINE, outcome="unreachable"), [], [], [{"hangups": True}]),
    "a broken stream": ("J10", BROKEN, [WHOLE], [SENT], [{"breaks": True}]),
    "no record": ("J2", ANSWER, [], [SENT], [{"unrecorded": True}]),
    "no line of the model server": ("J7", ANSWER, [WHOLE], [MockLine(id=9)], [{"unlogged": True}]),
    "a request sent twice": ("J2", ANSWER, [WHOLE], [SENT, msgspec.structs.replace(SENT, id=2)], [{"resends": True}]),
    "a status": (
        "J10",
        REFUSED,
        [msgspec.structs.replace(WHOLE, status=502, outcome="error")],
        [],
        [{"statuses": frozenset({502})}],
    ),
    "all model servers away": (
        "J10",
        REFUSED,
        [msgspec.structs.replace(WHOLE, status=502, outcome="error")],
        [],
        [{"upstream": "a"}, {"upstream": "b"}],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_permit_excuses_what_it_says_while_it_lasts(name: str) -> None:
    invariant, client, access, mock, fields = CASES[name]
    assert broken(history(client, access, mock)) == {invariant}
    met = [Permit(begin=10.9, end=12.0, **one) for one in fields]
    assert broken(history(client, access, mock, *met)) == set()
    missed = [Permit(begin=11.1, end=12.0, **one) for one in fields]
    assert broken(history(client, access, mock, *missed)) == {invariant}


def test_one_model_server_away_excuses_no_refusal() -> None:
    _, client, access, mock, _ = CASES["all model servers away"]
    twice = [Permit(begin=10.0, end=10.5, upstream="a", breaks=True), Permit(begin=10.6, end=12.0, upstream="a")]
    assert broken(history(client, access, mock, *twice)) == {"J10"}


def test_a_hang_up_is_no_cut_answer() -> None:
    permit = Permit(begin=10.0, end=12.0, hangups=True)
    assert broken(history(LINE, [RECORD], [SENT], permit)) == {"J7"}


def test_a_resend_is_not_a_third_attempt() -> None:
    lines = [msgspec.structs.replace(SENT, id=number) for number in (1, 2, 3)]
    assert broken(history(ANSWER, [WHOLE], lines, Permit(begin=10.0, end=12.0, resends=True))) == {"J2"}


def test_two_records_are_never_excused() -> None:
    second = msgspec.structs.replace(WHOLE, id="s")
    permit = Permit(begin=10.0, end=12.0, unrecorded=True, unlogged=True, cuts=True, resends=True)
    assert broken(history(ANSWER, [WHOLE, second], [SENT], permit)) == {"J2"}


def test_an_attempt_without_a_record_is_found_where_only_the_connection_broke() -> None:
    client = msgspec.structs.replace(LINE, status=None)
    assert broken(history(client, [], [SENT], Permit(begin=10.0, end=12.0, cuts=True))) == {"J2"}
