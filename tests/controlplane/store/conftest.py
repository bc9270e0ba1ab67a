"""Both databases, real, as the tests of this room see them: empty, and on the schema."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.store.database import Database
from tests.controlplane.store.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.url(cluster.create_database())


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(url)
    yield opened
    await opened.close()
