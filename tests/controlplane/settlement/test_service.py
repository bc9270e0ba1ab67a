"""The service, step by step, over a real outbox and both databases."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.quarantine import Stake
from controlplane.ledger.states import State
from controlplane.ledger.tables import BALANCES, ENTRIES, QUARANTINE, REQUESTS, TRANSACTIONS
from controlplane.settlement.inbox import Inbox
from controlplane.settlement.pace import LEAST, Pace
from controlplane.settlement.plan import Plan
from controlplane.settlement.service import CAUGHT_UP, SettlementService
from controlplane.store.database import Database
from controlplane.store.errors import Unavailable
from fastpath.outbox.facts import Fact, encode
from scheduler.clock import ManualClock
from tests.conftest import ROOT
from tests.controlplane.ledger.facts import (
    ALWAYS,
    CHARGE,
    COST,
    PRICE,
    RESERVED,
    T0,
    Now,
    end,
    intent,
    mark,
    refused,
    request_id,
)
from tests.controlplane.settlement.conftest import MakeService, Statements, Worker

SCRIPT = Path(__file__).with_name("workers.py")
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}


async def sums(ledger: Ledger) -> tuple[int, int, int]:
    """Charge, cost and requests of the tenant of these tests."""
    found = [one for one in await ledger.balances(Subject("acme"), ALWAYS) if one.currency == "USD"]
    return (found[0].charge, found[0].cost, found[0].requests) if found else (0, 0, 0)


async def everything(database: Database) -> list[Any]:
    """All rows of the books."""
    async with database.read() as connection:
        tables = (REQUESTS, TRANSACTIONS, ENTRIES, BALANCES, QUARANTINE)
        return [sorted(map(repr, (await connection.execute(select(table))).all())) for table in tables]


async def state_of(database: Database, number: int) -> int:
    async with database.read() as connection:
        query = select(REQUESTS.c.state).where(REQUESTS.c.request == request_id(number))
        return int((await connection.execute(query)).scalar_one())


def nested(number: int, levels: int) -> bytes:
    """An Intent whose price has so many tiers for long prompts: the interpreter's stack has a thousand levels."""
    price = msgspec.msgpack.encode(PRICE)
    assert price.endswith(b"\xc0")
    return encode(intent(number)).replace(price, price[:-1] * levels + b"\xc0")


async def run_dry(service: SettlementService) -> None:
    while await service.step():
        pass


async def test_what_workers_wrote_is_booked_once_and_the_outbox_forgets_it(
    worker: Worker, folder: Path, make_service: MakeService, ledger: Ledger
) -> None:
    other = Worker(folder, 8)
    worker.put(intent(1), mark(1), end(1), refused(2))
    other.put(intent(3), end(3), end(1))
    service = make_service()
    assert not await service.step()
    assert await sums(ledger) == (2 * CHARGE, 2 * COST, 2)
    assert (folder / "cursor").exists()
    assert not await service.step()
    figures = service.figures()
    assert (figures.records, figures.settled, figures.posted, figures.problem) == (7, 3, 4, "")
    assert (figures.backlog_bytes, figures.quarantined, figures.lost) == (0, 0, 0)
    assert figures.segment_bytes > 0
    other.end()
    await service.step()
    assert await ledger.violations(at_rest=True) == []


async def test_nothing_is_given_up_before_its_commit(
    worker: Worker, folder: Path, make_service: MakeService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.put(intent(1), end(1))
    service = make_service()
    settle = ledger.settlement.settle

    async def commit_unknown(facts: Any) -> Any:
        await settle(facts)
        raise Unavailable("the connection is lost")

    monkeypatch.setattr(ledger.settlement, "settle", commit_unknown)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await service.step()
    assert not (folder / "cursor").exists()
    assert service.figures().backlog_bytes > 0
    monkeypatch.undo()
    assert not await service.step()
    assert (folder / "cursor").exists()
    assert await sums(ledger) == (CHARGE, COST, 1)
    assert service.figures().duplicates == 1


async def test_F31_after_a_crash_between_commit_and_cursor_all_comes_again_and_changes_nothing(
    worker: Worker, folder: Path, make_service: MakeService, database: Database
) -> None:
    worker.put(intent(1), end(1), intent(2), mark(2), b"no fact")
    first = make_service()
    await first.step()
    await first.close()
    before = await everything(database)
    (folder / "cursor").unlink()
    again = make_service()
    await again.step()
    assert again.figures().records == 5
    assert await everything(database) == before


async def test_F31_the_whole_folder_again_from_its_start_changes_nothing(
    folder: Path, tmp_path: Path, make_service: MakeService, database: Database, ledger: Ledger
) -> None:
    worker = Worker(folder, 9, size=8192)
    for number in range(200):
        worker.put(intent(number), mark(number), *([] if number % 7 == 0 else [end(number)]))
    worker.end()
    shutil.copytree(folder, tmp_path / "copy")
    service = make_service(Plan(batch=37))
    await run_dry(service)
    await run_dry(service)
    await service.close()
    assert not list(folder.glob("*.seg"))
    assert await ledger.violations(at_rest=True) == []
    before = await everything(database)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    again = make_service()
    await run_dry(again)
    assert again.figures().records == 200 * 3 - 29
    assert again.figures().posted == 0
    assert await everything(database) == before


async def test_F32_poison_is_set_aside_and_stops_nobody(
    worker: Worker, make_service: MakeService, ledger: Ledger, database: Database
) -> None:
    deep, deeper = nested(3, 960), nested(4, 1_500)
    broken_text = b"\x93\x02\xa1\xff\x01"
    late = intent(5, ts=T0 - 90 * 86_400)
    worker.put(intent(1), b"\x80", b"\xc1", deep, deeper, broken_text, late, end(1), intent(2), end(2))
    service = make_service()
    await service.step()
    assert await sums(ledger) == (2 * CHARGE, 2 * COST, 2)
    assert service.figures().quarantined == 6
    assert {stake.currency: stake.amount for stake in await ledger.stakes()} == {"USD": 50_000, "XXX": 0}
    assert sum(stake.facts for stake in await ledger.stakes()) == 6
    await service.close()
    assert await ledger.violations(at_rest=True) == []


async def test_F32_a_fact_that_the_ledger_stumbles_over_is_tried_three_times_alone(
    worker: Worker, make_service: MakeService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.put(*[fact for number in range(20) for fact in (intent(number), end(number))])
    settle, alone = ledger.settlement.settle, []

    async def stumble(facts: list[Fact]) -> Any:
        if any(fact.request == request_id(13) for fact in facts):
            alone.append(len(facts))
            raise KeyError("a mistake")
        return await settle(facts)

    monkeypatch.setattr(ledger.settlement, "settle", stumble)
    service = make_service()
    assert not await service.step()
    assert await sums(ledger) == (19 * CHARGE, 19 * COST, 19)
    assert alone.count(1) == 2 * 3
    assert await ledger.stakes() == [Stake("USD", 1, 50_000), Stake("XXX", 1, 0)]


async def test_F33_what_a_dead_worker_left_is_settled_from_its_last_marks(
    folder: Path, make_service: MakeService, ledger: Ledger, database: Database
) -> None:
    """Settled in part by one life of the service, which ends; the next one finds the worker dead."""
    child = subprocess.Popen([sys.executable, str(SCRIPT), "hold", str(folder)], env=ENVIRON, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert await asyncio.to_thread(child.stdout.readline) == b"ready\n"
    first = make_service()
    await first.step()
    assert await state_of(database, 1) == State.DISPATCHED
    await first.close()
    child.kill()
    child.wait()
    child.stdout.close()
    second = make_service()
    await second.step()
    assert [await state_of(database, number) for number in (1, 2, 3)] == [
        State.ESTIMATED,
        State.ESTIMATED,
        State.SETTLED,
    ]
    assert await sums(ledger) == (2 * CHARGE, 2 * COST + 1_000 * 3, 3)
    assert second.figures().abandoned == 2
    assert await ledger.violations(at_rest=True) == []
    assert not list(folder.glob("*.seg"))


async def test_a_living_workers_requests_are_left_alone_whatever_their_age(
    worker: Worker, make_service: MakeService, database: Database, clock: ManualClock, now: Now
) -> None:
    worker.put(intent(1))
    service = make_service(Plan(lease=100.0, sweep_every=10.0))
    await service.step()
    now.seconds += 1_000
    clock.advance(1_000)
    await service.step()
    assert await state_of(database, 1) == State.RESERVED


async def test_what_nobody_holds_is_settled_when_it_is_older_than_a_lease(
    make_service: MakeService, ledger: Ledger, database: Database, clock: ManualClock, now: Now
) -> None:
    await ledger.settlement.settle([intent(1), mark(1)])
    service = make_service(Plan(lease=100.0, sweep_every=10.0))
    await service.step()
    assert await state_of(database, 1) == State.DISPATCHED
    now.seconds += 101
    await service.step()
    assert await state_of(database, 1) == State.DISPATCHED, "swept again too soon"
    assert service.losses.bounds == {}
    clock.advance(10)
    await service.step()
    assert await state_of(database, 1) == State.ESTIMATED
    assert (service.losses.bounds, service.losses.unbounded) == ({"USD": RESERVED - CHARGE}, 0)
    assert await sums(ledger) == (CHARGE, COST, 1)


async def test_what_nobody_can_bound_is_counted_apart(
    make_service: MakeService, ledger: Ledger, clock: ManualClock, now: Now
) -> None:
    await ledger.settlement.settle([end(1), end(2)])
    service = make_service(Plan(lease=100.0, sweep_every=10.0))
    now.seconds += 102
    await service.step()
    assert (service.losses.bounds, service.losses.unbounded) == ({}, 2)
    await ledger.settlement.settle([intent(1)])
    clock.advance(10)
    await service.step()
    assert (service.losses.bounds, service.losses.unbounded) == ({}, 1)


async def test_a_figure_that_cannot_be_had_holds_nothing_up_and_is_told_once_an_hour(
    make_service: MakeService,
    ledger: Ledger,
    clock: ManualClock,
    now: Now,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> Any:
        raise Unavailable("the statement took too long")

    await ledger.settlement.settle([intent(1), mark(1)])
    now.seconds += 7_201
    service = make_service()
    await service.step()
    bound = {"USD": RESERVED - CHARGE}
    assert service.losses.bounds == bound
    await service.close()
    service = make_service()
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "lost_bound", fail)
        for minute in range(120):
            await service.step()
            assert service.caught_up == (minute >= CAUGHT_UP - 1)
            clock.advance(60)
    assert service.losses.bounds == {}
    assert caplog.text.count("took too long") == 2
    await service.step()
    assert service.losses.bounds == bound


async def test_lag_grows_while_nothing_is_booked_and_ends_when_it_is(
    worker: Worker, make_service: MakeService, ledger: Ledger, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(_: Any) -> Any:
        raise Unavailable("the database is down")

    worker.put(intent(1), end(1))
    service = make_service()
    with monkeypatch.context() as patched:
        patched.setattr(ledger.settlement, "settle", down)
        clock.advance(60)
        with pytest.raises(Unavailable):
            await service.step()
        assert service.figures().lag_seconds == 60
    clock.advance(1)
    await service.step()
    await service.step()
    assert service.figures().lag_seconds == 0


async def test_ten_thousand_requests_take_at_most_a_hundred_writing_statements(
    folder: Path, make_service: MakeService, database: Database, ledger: Ledger
) -> None:
    worker = Worker(folder, 12, size=16 << 20)
    for begin in range(0, 10_000, 50):  # fifty at a time, as they come from a worker
        numbers = range(begin, begin + 50)
        for make in (intent, mark, end):
            worker.put(*(make(number) for number in numbers))
    worker.end()
    counted = Statements(database)
    await run_dry(make_service())
    assert await sums(ledger) == (10_000 * CHARGE, 10_000 * COST, 10_000)
    assert counted.writes <= 100
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(REQUESTS))).scalar_one() == 10_000


async def test_closing_settles_what_is_there(worker: Worker, make_service: MakeService, ledger: Ledger) -> None:
    service = make_service(Plan(linger=3_600.0, batch=10))
    service.start()
    worker.put(*[fact for number in range(50) for fact in (intent(number), end(number))])
    await service.close()
    assert await sums(ledger) == (50 * CHARGE, 50 * COST, 50)


async def test_closing_does_not_wait_for_a_database_that_hangs(
    worker: Worker, folder: Path, make_service: MakeService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def hang(_: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ledger.settlement, "settle", hang)
    worker.put(intent(1), end(1))
    service = make_service(Plan(drain=0.05))
    service.start()
    await begun.wait()
    await service.close()
    assert not (folder / "cursor").exists()
    monkeypatch.undo()
    after = make_service()
    await after.step()
    assert await sums(ledger) == (CHARGE, COST, 1)


async def test_a_second_service_waits_until_the_folder_is_free(
    worker: Worker, folder: Path, make_service: MakeService, ledger: Ledger
) -> None:
    taken = Inbox(folder)
    await taken.read(1)
    service = make_service(Plan(linger=0.01, longest_pause=0.02))
    service.start()
    async with asyncio.timeout(30):
        while not service.figures().problem:
            await asyncio.sleep(0.01)
    assert "one reader" in service.figures().problem
    worker.put(intent(1), end(1))
    await taken.close()
    async with asyncio.timeout(30):
        while service.figures().settled == 0:
            await asyncio.sleep(0.01)
    assert await sums(ledger) == (CHARGE, COST, 1)


@pytest.mark.parametrize("name", ["count_bytes", "Inbox._sort_run"])
async def test_what_was_read_when_reading_failed_is_read_again(
    name: str, worker: Worker, make_service: MakeService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(24, "too many open files")

    service = make_service()
    worker.put(intent(1), end(1))
    await service.step()
    worker.put(intent(2), end(2))
    with monkeypatch.context() as patched:
        patched.setattr(f"controlplane.settlement.inbox.{name}", fail)
        with pytest.raises(OSError, match="too many"):
            await service.step()
    worker.put(intent(3), end(3))
    await service.step()
    assert await sums(ledger) == (3 * CHARGE, 3 * COST, 3)
    await service.close()
    assert await ledger.violations(at_rest=True) == []


async def test_what_was_booked_when_the_cursor_could_not_be_stored_is_not_booked_again(
    worker: Worker, folder: Path, make_service: MakeService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(28, "no space left on device")

    service = make_service()
    worker.put(intent(1), mark(1), intent(2))
    for module in ("controlplane.settlement.holders", "fastpath.outbox.cursor"):
        worker.put(intent(3), end(3))
        with monkeypatch.context() as patched:
            patched.setattr(f"{module}.replace_file", fail)
            with pytest.raises(OSError, match="no space"):
                await service.step()
    assert not (folder / "cursor").exists()
    worker.put(end(1), end(2))
    await service.step()
    assert (folder / "cursor").exists()
    assert await sums(ledger) == (3 * CHARGE, 3 * COST, 3)


async def test_a_mistake_of_the_program_is_told_and_tried_again(
    worker: Worker, make_service: MakeService, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wrong(*_: Any) -> Any:
        raise ZeroDivisionError

    service = make_service(Plan(linger=0.01, longest_pause=0.02))
    monkeypatch.setattr(service._inbox, "find_over", wrong)
    worker.put(intent(1), end(1))
    service.start()
    async with asyncio.timeout(30):
        while service.figures().failures < 3:
            await asyncio.sleep(0.01)
    assert "ZeroDivisionError" in service.figures().problem
    monkeypatch.undo()
    async with asyncio.timeout(30):
        while service.figures().problem:
            await asyncio.sleep(0.01)
    assert await sums(ledger) == (CHARGE, COST, 1)


def test_batches_shrink_and_pauses_grow_while_the_database_refuses() -> None:
    pace = Pace(5_000, linger=0.2, longest=5.0)
    assert (pace.size, pace.pause) == (5_000, 0.2)
    for _ in range(10_000):
        pace.failed()
    assert pace.size == LEAST
    assert 2.5 <= pace.pause <= 5.0
    for _ in range(10):
        pace.succeeded()
    assert (pace.size, pace.pause) == (5_000, 0.2)
    small = Pace(10)
    small.failed()
    assert small.size == 10


async def test_at_the_start_it_looks_again_soon_and_then_lingers(
    worker: Worker, make_service: MakeService, ledger: Ledger
) -> None:
    service = make_service(Plan(linger=3_600.0, haste=0.01))
    service.start()
    async with asyncio.timeout(30):
        while not service.caught_up:
            await asyncio.sleep(0.01)
    assert service._pause() == 3_600.0
    worker.put(intent(1), end(1))
    await service.close()
    assert await sums(ledger) == (CHARGE, COST, 1), "whoever stops it does not wait for the next look"
