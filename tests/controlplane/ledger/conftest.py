"""Ledgers on both databases, on the schema, empty. Each migrates once a run; a test gets a copy."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.ledger.books import Ledger
from controlplane.store import schema
from controlplane.store.database import Database
from tests.controlplane.ledger.facts import SECRET, Now
from tests.controlplane.store.cluster import Cluster


async def _migrate(url: str) -> None:
    database = await Database.open(url)
    await schema.upgrade(database)
    await database.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def migrated(cluster: Cluster) -> str:
    """Name of a PostgreSQL database to copy."""
    name = cluster.create_database()
    asyncio.run(_migrate(cluster.url(name)))
    return name


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database to copy."""
    path = tmp_path_factory.mktemp("migrated") / "ledger.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.url(cluster.create_database(request.getfixturevalue("migrated")))


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(url)
    yield opened
    await opened.close()


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def ledger(database: Database, now: Now) -> Ledger:
    return Ledger(database, SECRET, now=now)
