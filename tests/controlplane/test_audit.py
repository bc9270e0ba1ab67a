"""The audit trail, on both databases: one entry for each change, in its transaction, and no edit goes unseen."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select, update

from controlplane.access.principal import Actor
from controlplane.app import Rooms
from controlplane.audit.tables import AUDIT_ENTRIES, AUDIT_HEAD
from controlplane.audit.trail import Entry, Subject
from controlplane.identity.tables import TENANTS
from tests.controlplane.conftest import PATIENCE, make_tree


async def entries(api: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/audit?limit=1000{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found[::-1]


async def test_every_change_is_told_with_before_and_after(api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    key = f"/keys/{tree['key']['id']}"
    await api.patch(key, json={"disabled": True, "models": ["small"]})
    await api.post(f"{key}/rotate", json={"overlap": 0})
    await api.delete(key)
    me = (await api.get("/me")).json()
    told = await entries(api)
    assert [entry["seq"] for entry in told] == list(range(1, len(told) + 1))
    assert [entry["action"] for entry in told[1:]] == [
        "tenant.create",
        "team.create",
        "user.create",
        "key.create",
        "key.edit",
        "key.rotate",
        "key.delete",
    ]
    assert {entry["actor_id"] for entry in told[1:]} == {me["id"]}
    assert {entry["actor_role"] for entry in told[1:]} == {"admin"}
    assert told[0]["actor_name"] == "fastpath init"
    assert {entry["tenant_id"] for entry in told[1:]} == {tree["tenant"]["id"]}
    created, edited, deleted = told[4], told[5], told[7]
    assert (created["before"], created["after"]) == (None, tree["key"])
    assert edited["before"] == {"disabled": False, "models": None}
    assert edited["after"] == {"disabled": True, "models": ["small"]}
    assert deleted["after"] is None
    assert deleted["before"]["name"] == tree["key"]["name"]
    assert [entry["seq"] for entry in await entries(api, f"&object_id={tree['key']['id']}")] == [5, 6, 7, 8]
    page = (await api.get("/audit?limit=3")).json()
    assert [entry["seq"] for entry in page["data"]] == [8, 7, 6]
    assert [entry["seq"] for entry in (await api.get(f"/audit?limit=3&after={page['next']}")).json()["data"]] == [
        5,
        4,
        3,
    ]


FORGED = (
    {"actor_name": "somebody"},
    {"at": 1},
    {"action": "key.edit"},
    {"object_id": "0" * 32},
    {"after": '{"disabled":false}'},
    {"after": None},
    {"before": "{}"},
    {"tenant_id": None},
    {"hash": bytes(32)},
)


@pytest.mark.parametrize("forged", FORGED, ids=str)
async def test_an_edited_entry_is_found(rooms: Rooms, api: httpx.AsyncClient, forged: dict[str, Any]) -> None:
    await make_tree(api)
    assert (await api.get("/audit/verify")).json()["problem"] == ""
    async with rooms.database.begin() as connection:
        await connection.execute(update(AUDIT_ENTRIES).where(AUDIT_ENTRIES.c.seq == 3).values(**forged))
    verdict = (await api.get("/audit/verify")).json()
    assert verdict["broken_at"] == 3
    assert "edited" in verdict["problem"]


@pytest.mark.parametrize("gone", [1, 3, 5])
async def test_a_removed_entry_is_found(rooms: Rooms, api: httpx.AsyncClient, gone: int) -> None:
    await make_tree(api)
    async with rooms.database.begin() as connection:
        await connection.execute(delete(AUDIT_ENTRIES).where(AUDIT_ENTRIES.c.seq == gone))
    verdict = (await api.get("/audit/verify")).json()
    assert verdict["problem"]
    assert verdict["broken_at"] == gone


async def test_a_chain_cut_with_its_head_has_another_head(rooms: Rooms, api: httpx.AsyncClient) -> None:
    await make_tree(api)
    noted = (await api.get("/audit/verify")).json()
    async with rooms.database.begin() as connection:
        statement = select(AUDIT_ENTRIES.c.hash).where(AUDIT_ENTRIES.c.seq == 4)
        head = (await connection.execute(statement)).scalar_one()
        await connection.execute(delete(AUDIT_ENTRIES).where(AUDIT_ENTRIES.c.seq == 5))
        await connection.execute(update(AUDIT_HEAD).values(seq=4, hash=head))
    cut = (await api.get("/audit/verify")).json()
    assert cut["problem"] == "", "only who noted the head can see it"
    assert (cut["entries"], cut["head"]) != (noted["entries"], noted["head"])


async def _make_tenant(api: httpx.AsyncClient, name: str) -> int:
    """The status of the answer. Who waits for a slow disk for longer than two seconds is told to come again."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await api.post("/tenants", json={"name": name})).status_code == 503:
            await asyncio.sleep(int(answer.headers["retry-after"]))
    return answer.status_code


async def test_changes_at_once_come_one_after_the_other(rooms: Rooms, api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(_make_tenant(api, f"t{number % 10}") for number in range(20)))
    assert sorted(answers) == [201] * 10 + [409] * 10
    verdict = (await api.get("/audit/verify")).json()
    assert (verdict["entries"], verdict["problem"]) == (11, "")


async def test_an_entry_and_its_change_are_one_transaction(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    before = (await rooms.trail.verify()).head

    async def fail() -> None:
        async with rooms.trail.change(Actor("test")) as change:
            await change.connection.execute(update(TENANTS).values(name="halfway"))
            await change.record("tenant.edit", Subject("tenant", tree["tenant"]["id"]), {}, {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert (await rooms.trail.verify()).head == before
    assert (await api.get(f"/tenants/{tree['tenant']['id']}")).json()["name"] == "acme"


def test_no_two_entries_have_the_same_bytes() -> None:
    entry = Entry(1, 2, "a", "bc", "d", "e", "f", "g", None, None, None)
    moved = Entry(1, 2, "ab", "c", "d", "e", "f", "g", None, None, None)
    assert entry.chain(bytes(32)) != moved.chain(bytes(32))
    assert entry.chain(bytes(32)) != entry.chain(b"x" * 32)
