"""Usage, invoices, refunds and the state of settling, as the admin API shows them, on both databases."""

import asyncio
import csv
import io
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from controlplane.app import Rooms, open_rooms
from controlplane.problem import Problem
from controlplane.settings import ControlSettings
from controlplane.settlement.periods import day_of, days_of, moment, month_of
from controlplane.settlement.reports import BYS, Filter, Reports, _from_requests, _is_in_balances, _joined
from controlplane.settlement.sheets import UsageLine, as_csv
from fastpath.outbox.facts import Payer
from tests.controlplane.conftest import make_tree
from tests.controlplane.ledger.facts import ALWAYS, end, failed, intent, request_id
from tests.controlplane.settlement.spending import spend

UTC_ZONE = ZoneInfo("UTC")


@pytest.fixture
async def rooms(store: ControlSettings) -> AsyncIterator[Rooms]:
    async with open_rooms(store, os.environ, time.time) as opened:
        yield opened


async def settled(rooms: Rooms, count: int) -> None:
    async with asyncio.timeout(30):
        while rooms.billing.service.figures().settled < count:
            await asyncio.sleep(0.01)


def payer_of(tree: dict[str, Any]) -> Payer:
    return Payer(tree["tenant"]["id"], tree["team"]["id"], tree["user"]["id"], tree["key"]["id"])


async def as_role(api: httpx.AsyncClient, role: str, **where: str) -> dict[str, str]:
    issued = (await api.post("/admin-keys", json={"name": role, "role": role, **where})).json()
    return {"authorization": f"Bearer {issued['token']}"}


async def get(api: httpx.AsyncClient, path: str, **given: Any) -> Any:
    answer = await api.get(path, **given)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_bill_from_the_outbox_to_the_refund(
    api: httpx.AsyncClient, rooms: Rooms, store: ControlSettings
) -> None:
    tree = await make_tree(api, currency="USD")
    tenant = tree["tenant"]["id"]
    first, _, _ = spend(store.folder, payer_of(tree), 3)
    await settled(rooms, 3)
    (line,) = (await get(api, "/usage", params={"tenant_id": tenant}))["data"]
    assert line == {
        "name": tenant,
        "currency": "USD",
        "requests": 3,
        "input_tokens": 3_000,
        "output_tokens": 600,
        "charge": "0.0000198",
        "cost": "0.000018",
    }
    order = {"request": f"req_{first}", "amount": "0.0000006", "reason": "it was cut off", "token": "case 1"}
    made = await api.post("/ledger/refunds", json=order)
    assert made.status_code == 201, made.text
    assert (made.json()["amount"], made.json()["again"]) == ("0.0000006", False)
    again = await api.post("/ledger/refunds", json=order)
    assert (again.json()["id"], again.json()["again"]) == (made.json()["id"], True)
    too_much = await api.post("/ledger/refunds", json={**order, "token": "case 2", "amount": "0.0000061"})
    assert (too_much.status_code, too_much.json()["error"]["code"]) == (409, "refund_refused")
    unknown = await api.post("/ledger/refunds", json={**order, "request": "0" * 32})
    assert unknown.status_code == 404
    for wrong in ({"amount": "1e-3"}, {"amount": "0.0000000001"}, {"request": "req_"}, {"reason": ""}, {"more": 1}):
        assert (await api.post("/ledger/refunds", json={**order, **wrong})).status_code == 400
    invoice = await get(api, f"/invoices/{tenant}")
    assert invoice["totals"] == [
        {"currency": "USD", "charge": "0.0000198", "refunded": "0.0000006", "total": "0.0000192", "cost": "0.000018"}
    ]
    assert [(line["model"], line["requests"], line["total"]) for line in invoice["lines"]] == [
        ("gpt-x", 3, "0.0000192")
    ]
    assert (await get(api, "/usage"))["data"][0]["charge"] == "0.0000192"
    entries = (await get(api, "/audit", params={"object_id": made.json()["id"]}))["data"]
    assert [entry["after"]["reason"] for entry in entries] == ["it was cut off"]
    assert await rooms.billing.ledger.violations(at_rest=True) == []


async def test_roles_see_their_part_and_tenants_no_cost(
    api: httpx.AsyncClient, rooms: Rooms, store: ControlSettings
) -> None:
    mine, other = await make_tree(api, "acme"), await make_tree(api, "umbrella")
    colleague = (await api.post("/users", json={"name": "bob", "team_id": mine["team"]["id"]})).json()
    spend(store.folder, payer_of(mine), 2)
    spend(store.folder, payer_of(other), 5)
    spend(store.folder, Payer(mine["tenant"]["id"], mine["team"]["id"], colleague["id"], "k"), 3)
    await settled(rooms, 10)
    chief = await as_role(api, "tenant-admin", tenant_id=mine["tenant"]["id"])
    developer = await as_role(api, "developer", user_id=mine["user"]["id"])
    for headers, count in ((None, 10), (chief, 5), (developer, 2)):
        for by in BYS:
            found = (await get(api, "/usage", params={"by": by}, headers=headers))["data"]
            assert sum(line["requests"] for line in found) == count, by
            assert {line["cost"] is None for line in found} == {headers is not None}
    for headers, query in (
        (chief, {"tenant_id": other["tenant"]["id"]}),
        (chief, {"user_id": other["user"]["id"]}),
        (chief, {"key_id": other["key"]["id"], "by": "model"}),
        (developer, {"user_id": colleague["id"]}),
        (developer, {"key_id": "k"}),
        (developer, {"tenant_id": other["tenant"]["id"], "by": "day"}),
    ):
        assert (await get(api, "/usage", params=query, headers=headers))["data"] == []
    for headers in (None, chief):
        bill = await get(api, f"/invoices/{mine['tenant']['id']}", headers=headers)
        assert {line["cost"] is None for line in (*bill["lines"], *bill["totals"])} == {headers is not None}
    foreign = await api.get(f"/invoices/{other['tenant']['id']}", headers=chief)
    nowhere = await api.get(f"/invoices/{'f' * 32}", headers=chief)
    assert (foreign.status_code, foreign.content) == (404, nowhere.content)
    assert (await api.get(f"/invoices/{'f' * 32}")).status_code == 404
    assert (await api.get(f"/invoices/{mine['tenant']['id']}", headers=developer)).status_code == 403
    assert (await api.post("/ledger/refunds", json={}, headers=chief)).status_code == 403


async def test_balances_and_transactions_say_the_same(rooms: Rooms) -> None:
    """Every question that balances can answer, asked both ways."""
    now = time.time()
    for number in range(60):
        payer = Payer(f"t{number % 2}", f"team{number % 4}", f"user{number % 8}", f"key{number % 16}")
        at = now - 86_400 * (number % 3)
        facts = [intent(number, payer=payer, ts=at), intent(number, 2, payer=payer, ts=at)]
        used = failed(1, None if number % 3 else end(1).attempts[0].usage)
        last = end(number).attempts[0]
        answer = end(number, used, type(last)(2, last.endpoint, last.usage, delivered=True), payer=payer, ts=at)
        await rooms.billing.ledger.settlement.settle([*facts, answer])
    reports: Reports = rooms.billing.reports
    asked = 0
    for by in BYS:
        for wanted in (Filter(), Filter("t1"), Filter("t1", team="team1"), Filter(user="user3"), Filter(key="key2")):
            if not _is_in_balances(wanted, by):
                continue
            short = await reports.usage(wanted, by, ALWAYS, UTC_ZONE)
            async with rooms.database.read() as connection:
                rows = (await connection.execute(_from_requests(wanted, by, ALWAYS))).all()
            assert short == _joined(rows, UTC_ZONE if by == "day" else None), (by, wanted)
            assert short
            asked += 1
    assert asked >= 14
    assert await reports.usage(Filter("t1", team="team1", user="user1"), "key", ALWAYS, UTC_ZONE)
    assert await reports.usage(Filter(model="gpt-y"), "tenant", ALWAYS, UTC_ZONE) == []


async def test_months_follow_the_tenants_clock(api: httpx.AsyncClient, rooms: Rooms, store: ControlSettings) -> None:
    tree = await make_tree(api, currency="EUR", time_zone="Asia/Shanghai")
    tenant = tree["tenant"]["id"]
    today = datetime.now(UTC)
    turn = datetime(today.year, today.month, 1, tzinfo=ZoneInfo("Asia/Shanghai"))
    spend(store.folder, payer_of(tree), 1, ts=turn.timestamp() - 1)
    spend(store.folder, payer_of(tree), 2, ts=turn.timestamp() + 1)
    await settled(rooms, 3)
    before = (turn - timedelta(days=1)).strftime("%Y-%m")
    for month, count in ((before, 1), (turn.strftime("%Y-%m"), 2)):
        invoice = await get(api, f"/invoices/{tenant}", params={"month": month})
        assert [line["requests"] for line in invoice["lines"]] == [count]
        assert (invoice["currency"], invoice["time_zone"]) == ("EUR", "Asia/Shanghai")
        assert [total["currency"] for total in invoice["totals"]] == ["EUR", "USD"]
    days = {"tenant_id": tenant, "by": "day", "start": turn.date() - timedelta(days=1), "end": turn.date()}
    found = await get(api, "/usage", params=days)
    assert [(line["name"], line["requests"]) for line in found["data"]] == [
        (str(turn.date() - timedelta(days=1)), 1),
        (str(turn.date()), 2),
    ]
    for query in ({"month": "2026-13"}, {"start": "2026-01-01"}, {"start": "2026-02-30", "end": "2026-03-01"}):
        answer = await api.get("/usage", params=query)
        assert answer.status_code == 400, query


async def test_csv_holds_what_json_holds(api: httpx.AsyncClient, rooms: Rooms, store: ControlSettings) -> None:
    tree = await make_tree(api)
    spend(store.folder, payer_of(tree), 2)
    await settled(rooms, 2)
    for path, lines in (("/usage", "data"), (f"/invoices/{tree['tenant']['id']}", "lines")):
        answer = await api.get(path, params={"format": "csv"})
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        shown = (await get(api, path))[lines]
        assert rows == [{name: str(value) for name, value in line.items()} for line in shown]


async def test_settling_shows_what_waits_and_what_is_set_aside(api: httpx.AsyncClient, rooms: Rooms) -> None:
    await rooms.billing.ledger.settlement.settle([intent(1, ts=0.0)])
    found = await get(api, "/settlement")
    assert found["quarantine"] == [{"currency": "USD", "facts": 1, "amount": "0.00005"}]
    assert found["lost_bound"] == []
    await rooms.billing.ledger.settlement.settle([intent(2, ts=time.time())])
    await rooms.billing.ledger.settlement.settle_abandoned([request_id(2)])
    (bound,) = (await get(api, "/settlement"))["lost_bound"]
    assert (bound["currency"], bound["requests"]) == ("USD", 1)
    assert bound["amount"] == "0.00005", "no mark, so nothing was charged"
    assert (found["backlog_bytes"], found["problem"]) == (0, "")
    assert found["lag_seconds"] < 60


def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    lines = [UsageLine(name, "USD", 1, 1, 1, "-1", None) for name in ("=1+1", "+1", "-1", "@x", "gpt")]
    rows = list(csv.reader(io.StringIO(as_csv(lines, UsageLine).decode())))
    assert [row[0] for row in rows] == ["name", "'=1+1", "'+1", "'-1", "'@x", "gpt"]
    assert rows[1][5] == "-1"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "Asia/Kathmandu", "America/Sao_Paulo", "Europe/Berlin"])
def test_months_and_days_join_without_gap(zone: str) -> None:
    place = ZoneInfo(zone)
    months = [month_of(f"{year}-{month:02}", place, 0.0) for year in (2026, 2027) for month in range(1, 13)]
    assert all(one.end == following.start for one, following in pairwise(months))
    march = month_of("2026-03", place, 0.0)
    assert days_of("2026-03-01", "2026-03-31", place) == march
    assert (day_of(march.start, place), day_of(march.end - 1, place)) == ("2026-03-01", "2026-03-31")
    assert month_of(None, place, march.start / 1e6) == march


def test_a_period_that_is_none_is_refused() -> None:
    assert moment(1_767_225_600_000_000) == "2026-01-01T00:00:00Z"
    for bad in ("2026-1", "26-01", "2026-01-01", "٢٠٢٦-01"):
        with pytest.raises(Problem):
            month_of(bad, UTC_ZONE, 0.0)
    for start, end_ in (("2026-01-02", "2026-01-01"), ("20260101", "2026-01-02"), ("2026-W01-1", "2026-01-02")):
        with pytest.raises(Problem):
            days_of(start, end_, UTC_ZONE)
