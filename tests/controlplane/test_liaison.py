"""What a control process answers its supervisor, on both databases."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.app import Rooms
from controlplane.liaison import NodeSocket
from controlplane.server import witness_of
from controlplane.settings import ControlSettings
from fastpath.liaison import (
    MOST_QUESTIONS,
    SOCKET,
    Declined,
    PulseAsked,
    Question,
    SpentAsked,
    SpentTold,
    Vitals,
)
from fastpath.outbox.facts import Payer, encode
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from fastpath.process.liaison import Liaison
from scheduler.clock import ManualClock
from tests.controlplane.alerts.conftest import alert
from tests.controlplane.ledger.facts import COST
from tests.controlplane.settlement.spending import spend

PAYER = Payer("acme", "search", "ann", "laptop")


@pytest.fixture
async def liaison(rooms: Rooms, store: ControlSettings) -> AsyncIterator[Liaison]:
    door = NodeSocket(store.folder, witness_of(rooms))
    await door.start()
    yield Liaison(store.folder)
    await door.close()


async def vitals(liaison: Liaison) -> Vitals:
    told = await liaison.ask(PulseAsked(), 10)
    assert isinstance(told, Vitals)
    return told


async def until(liaison: Liaison, records: int) -> Vitals:
    async with asyncio.timeout(30):
        while (told := await vitals(liaison)).records < records or told.backlog_records:
            await asyncio.sleep(0.02)
        return told


async def spent(liaison: Liaison, questions: tuple[Question, ...]) -> SpentTold:
    """The answer, once the outbox of before is settled."""
    async with asyncio.timeout(30):
        while not isinstance(told := await liaison.ask(SpentAsked(questions), 10), SpentTold):
            await asyncio.sleep(0.02)
        return told


def about(level: str, name: str, unit: str = "money", currency: str = "USD", ago: float = 0.0) -> Question:
    quarter = time.time() // 900 * 900 - ago
    return Question("acme", level, name, unit, currency, quarter - 900, quarter + 1_800)  # type: ignore[arg-type]


async def test_what_was_spent_is_told_by_owner_unit_and_period(
    rooms: Rooms, store: ControlSettings, liaison: Liaison
) -> None:
    spend(store.folder, PAYER, 3)
    await until(liaison, 6)
    questions = (
        about("tenant", ""),
        about("team", "search"),
        about("user", "ann", "tokens"),
        about("key", "laptop"),
        about("key", "other"),
        about("tenant", "", currency="EUR"),
        about("tenant", "", ago=86_400),
    )
    charge = COST * 11 // 10
    told = await spent(liaison, questions)
    assert told == SpentTold((3 * charge, 3 * charge, 3 * 1_200, 3 * charge, 0, 0, 0))


async def test_nothing_is_told_before_the_outbox_of_a_former_life_is_settled(
    rooms: Rooms, liaison: Liaison, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spent(liaison, (about("tenant", ""),))
    monkeypatch.setattr(rooms.billing.service, "_quiet", 1)
    witness = witness_of(rooms)
    assert isinstance(await witness.spent((about("tenant", ""),)), Declined)


async def test_the_pulse_tells_how_things_stand(rooms: Rooms, store: ControlSettings, liaison: Liaison) -> None:
    spend(store.folder, PAYER, 2)
    writer = OutboxWriter(store.folder / "outbox", ManualClock(), Options(segment_bytes=1 << 20), token=9, thread=False)
    for record in (encode(alert(ts=time.time())), encode(alert(scope="galaxy")), b"rubbish"):
        assert writer.put(record)
    writer.close()
    told = await until(liaison, 7)
    async with asyncio.timeout(30):
        while not (told := await vitals(liaison)).alerts or told.quarantined < 2 or not told.publication:
            await asyncio.sleep(0.02)
    assert (told.transactions, told.quarantined, told.alerts, told.lost) == (4, 2, 1, 0)
    assert told.deliveries == {"delivered": 0, "failed": 0, "dead": 0}
    assert set(told.database_errors) == {"contended", "unavailable"}
    assert 0 <= told.lag_seconds < 60


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"\xff\n", b'{"type":"spent","questions":[["a"]]}\n', b"[" * 9_000 + b"\n", b"x" * (1 << 21)],
)
async def test_what_is_no_question_is_declined_or_hung_up_on(
    liaison: Liaison, store: ControlSettings, line: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(store.folder / SOCKET))
    try:
        writer.write(line)
        answer = await reader.readline()
        assert answer == b"" or json.loads(answer)["type"] == "declined"
    except ConnectionError:
        assert len(line) > 1 << 20
    finally:
        writer.close()
    assert await vitals(liaison)
    too_many = SpentAsked((about("tenant", ""),) * (MOST_QUESTIONS + 1))
    assert isinstance(await liaison.ask(too_many, 10), Declined)


async def test_the_socket_is_its_owners_alone(liaison: Liaison, store: ControlSettings) -> None:
    assert (Path(store.folder) / SOCKET).stat().st_mode & 0o777 == 0o600
