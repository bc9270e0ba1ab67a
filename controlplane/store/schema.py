"""The schema's version: where a database stands and how it is brought to what this program needs.

Owns the way into the migrations, which lie in this package so that they ship with it. Does not own what they do. One
process migrates at a time: a database that two start on is locked by the first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from controlplane.store.database import Database
from controlplane.store.errors import Outdated

T = TypeVar("T")

#: Any number that nothing else locks on in this database: "fastpath" in ASCII.
_LOCK = int.from_bytes(b"fastpath") & 0x7FFF_FFFF_FFFF_FFFF


def newest() -> str:
    """The revision this program is written for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise Outdated("this program came without its migrations: install it again")
    return head


async def current(database: Database) -> str | None:
    """The revision a database is at; None for an empty one."""
    async with database.read() as connection:
        return await connection.run_sync(_revision)


async def upgrade(database: Database, revision: str = "head") -> None:
    """Brings a database up to `revision`, in one transaction: all of it happens or nothing."""
    await _migrate(database, lambda config: command.upgrade(config, revision))


async def downgrade(database: Database, revision: str) -> None:
    """Takes a database back, for tests of the migrations. Loses what the newer schema held."""
    await _migrate(database, lambda config: command.downgrade(config, revision))


async def check(database: Database) -> None:
    """Raises Outdated when a database is not at this program's revision."""
    found, wanted = await current(database), newest()
    if found != wanted:
        raise Outdated(f"the database is at {found or 'no revision'}, this program needs {wanted}: run the upgrade")


async def _migrate(database: Database, act: Callable[[Config], None]) -> None:
    async with database.begin() as connection:
        if database.dialect == "postgresql":
            await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            await connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        await connection.run_sync(_run, act)


def _run(connection: Connection, act: Callable[[Config], None]) -> None:
    config = _config()
    config.attributes["connection"] = connection
    act(config)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
