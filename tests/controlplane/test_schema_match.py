"""The migrations make the tables that the rooms describe, on both databases."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from controlplane.app import Rooms
from controlplane.tables import METADATA

OURS = {
    "tenants",
    "teams",
    "users",
    "keys",
    "key_secrets",
    "admin_keys",
    "provider_keys",
    "policies",
    "audit_entries",
    "audit_head",
}


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found = compare_metadata(context, METADATA)
    return [each for each in found if any(name in repr(each) for name in OURS)]


def constraints(connection: Connection) -> dict[str, Any]:
    look = inspect(connection)
    return {
        table: (
            sorted(str(each["name"]) for each in look.get_check_constraints(table)),
            sorted(str(each["name"]) for each in look.get_unique_constraints(table)),
            sorted(str(each["name"]) for each in look.get_foreign_keys(table)),
            sorted(str(each["name"]) for each in look.get_indexes(table) if not each.get("duplicates_constraint")),
        )
        for table in sorted(OURS)
    }


def described() -> dict[str, Any]:
    from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint

    def names(table: str, kind: type) -> list[str]:
        found = [each for each in METADATA.tables[table].constraints if isinstance(each, kind)]
        compiled = [each.name for each in found]
        return sorted(str(name) for name in compiled)

    return {
        table: (
            names(table, CheckConstraint),
            names(table, UniqueConstraint),
            names(table, ForeignKeyConstraint),
            sorted(str(index.name) for index in METADATA.tables[table].indexes),
        )
        for table in sorted(OURS)
    }


async def test_the_database_is_what_the_rooms_say(rooms: Rooms) -> None:
    async with rooms.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(constraints) == described()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET tenant_id = (SELECT id FROM tenants WHERE name = 'umbrella') WHERE name = 'acme-user'",
        "UPDATE keys SET user_id = (SELECT id FROM users WHERE name = 'umbrella-user') WHERE name = 'acme-key'",
        "UPDATE admin_keys SET role = 'developer'",
        "UPDATE tenants SET owner = 'me'",
        "UPDATE tenants SET data_class = 'P3'",
        "UPDATE tenants SET name = 'acme'",
    ],
)
async def test_what_no_request_can_do_the_database_refuses_too(rooms: Rooms, api: Any, statement: str) -> None:
    from tests.controlplane.conftest import make_tree

    await make_tree(api)
    await make_tree(api, "umbrella")

    async def act() -> None:
        async with rooms.database.begin() as connection:
            await connection.execute(text(statement))

    with pytest.raises(IntegrityError):
        await act()
