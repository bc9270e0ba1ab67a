"""Backup and restore: every table comes back, into either kind of database; what is damaged is refused."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select

from controlplane.app import Rooms, build_app, open_rooms
from controlplane.archive import ArchiveError, back_up, restore
from controlplane.ledger.tables import ENTRIES
from controlplane.settings import ControlSettings
from controlplane.store.database import Database
from controlplane.tables import METADATA
from fastpath.settings.secret import Secret
from tests.controlplane.conftest import make_tree
from tests.controlplane.store.cluster import Cluster


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A new database."""
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        url = cluster.url(cluster.create_database())
    opened = await Database.open(url)
    yield opened
    await opened.close()


async def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    async with database.read() as connection:
        found = {}
        for table in METADATA.sorted_tables:
            rows = await connection.execute(select(table).order_by(*table.primary_key.columns))
            found[table.name] = [tuple(row) for row in rows]
        return found


async def fill(rooms: Rooms, api: httpx.AsyncClient) -> None:
    """Rows in every table: identity by the API, the others as their columns allow."""
    await make_tree(api, models=["small"], networks=["10.0.0.0/8"])
    await make_tree(api, "umbrella")
    await api.post("/provider-keys", json={"name": "p", "value": "sk-p"})
    ledger = METADATA.tables["ledger_transactions"]
    async with rooms.database.begin() as connection:
        await connection.execute(insert(ledger), [_row(ledger, 1) | {"amount": 5, "debit": "a", "credit": "b"}])


def _row(table: Any, number: int) -> dict[str, Any]:
    """Some row of a table that has constraints on lengths only."""
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.nullable:
            continue
        kind = column.type.python_type
        row[column.name] = {int: number, str: "USD", bytes: bytes([number]) * 16, bool: False}[kind]
    return row


async def test_every_table_comes_back(rooms: Rooms, api: httpx.AsyncClient, empty: Database, tmp_path: Path) -> None:
    await fill(rooms, api)
    file = tmp_path / "backup"
    counts = await back_up(rooms.database, file)
    assert file.stat().st_mode & 0o777 == 0o600
    before = await contents(rooms.database)
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert counts["keys"] == 2
    assert counts["ledger_transactions"] == 1
    await api.post("/tenants", json={"name": "later"})
    assert await restore(empty, file) == counts
    assert await contents(empty) == before
    async with empty.read() as connection:
        entries = (await connection.execute(select(ENTRIES).order_by(ENTRIES.c.account))).all()
    assert [tuple(row) for row in entries] == [(1, "a", 5), (1, "b", -5)]


async def test_a_restored_gateway_goes_on(
    rooms: Rooms, api: httpx.AsyncClient, store: ControlSettings, empty: Database, tmp_path: Path
) -> None:
    await fill(rooms, api)
    await back_up(rooms.database, tmp_path / "backup")
    await restore(empty, tmp_path / "backup")
    url = empty.engine.url.set(drivername=empty.dialect).render_as_string(hide_password=False)
    settings = ControlSettings(state_dir=store.state_dir, database=Secret(url))
    async with open_rooms(settings, {}, time.time) as restored:
        transport = httpx.ASGITransport(app=build_app(restored))
        headers = {"authorization": api.headers["authorization"]}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            assert (await client.post("/admin/v1/tenants", json={"name": "new"})).status_code == 201
            verdict = (await client.get("/admin/v1/audit/verify")).json()
            (key,) = (await client.get("/admin/v1/provider-keys")).json()["data"]
        assert verdict["problem"] == ""
        assert await restored.vault.reveal(key["id"]) == Secret("sk-p")


async def test_a_restore_goes_into_an_empty_database_only(rooms: Rooms, api: httpx.AsyncClient, tmp_path: Path) -> None:
    await make_tree(api)
    await back_up(rooms.database, tmp_path / "backup")
    before = await contents(rooms.database)
    with pytest.raises(ArchiveError, match="not empty"):
        await restore(rooms.database, tmp_path / "backup")
    with pytest.raises(ArchiveError, match="there already"):
        await back_up(rooms.database, tmp_path / "backup")
    assert await contents(rooms.database) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "state"]


async def test_a_damaged_backup_is_refused_whole(
    rooms: Rooms, api: httpx.AsyncClient, empty: Database, tmp_path: Path
) -> None:
    await make_tree(api)
    await back_up(rooms.database, tmp_path / "backup")
    good = (tmp_path / "backup").read_bytes()
    damaged = [good[:size] for size in (0, 3, 50, len(good) // 2, len(good) - 1)]
    damaged += [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(0, len(good), 97)]
    for number, content in enumerate(damaged):
        file = tmp_path / f"damaged-{number}"
        file.write_bytes(content)
        with pytest.raises(ArchiveError):
            await restore(empty, file)
    assert all(rows == [] for rows in (await contents(empty)).values())
    await restore(empty, tmp_path / "backup")
