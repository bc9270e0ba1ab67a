"""A publication after a change reads and writes what was touched, and says the same as one that reads everything."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, event, insert, update

from _native.keytable import KeyTable, Row, build
from controlplane.app import Rooms
from controlplane.audit.tables import AUDIT_ENTRIES
from controlplane.identity import roster
from controlplane.identity.scope import Scope
from controlplane.identity.tables import KEY_SECRETS, KEYS
from controlplane.ids import new_id
from controlplane.publish import names
from controlplane.publish.compile import Compiled, compile_all, compile_changes
from controlplane.publish.press import Press, open_publisher
from controlplane.publish.rows import Difference, Places, Rows, settle_places
from controlplane.registry.published import reveal_nothing
from controlplane.store.metadata import micros
from fastpath.settings.roster import decode_roster
from tests.controlplane.conftest import LIVING, make_tree

PEPPER = b"p" * 32
MANY = 400
"""Keys that nobody touches. What a change costs is counted, so it makes no difference that they are few."""


async def whole(rooms: Rooms, at: float | None = None) -> Compiled:
    async with rooms.database.read() as connection:
        return await compile_all(connection, micros(at or time.time()), rooms.hasher.pepper_id)


async def after(rooms: Rooms, before: Compiled, at: float | None = None) -> Compiled:
    async with rooms.database.read() as connection:
        moment = micros(at or time.time())
        return await compile_changes(connection, moment, rooms.hasher.pepper_id, reveal_nothing, before)


def meaning(found: Compiled) -> dict[bytes, Any]:
    """What every row says, with what it points at in place of places; and what is said of the others."""
    told = decode_roster(found.roster)
    teams, users = told.team_names(), told.user_names()
    said: dict[bytes, Any] = {
        row.digest: (
            row.key_id,
            told.tenants[row.tenant],
            told.tenant_ids[row.tenant],
            (teams[row.team], told.team_ids[row.team]),
            (users[row.user], told.user_ids[row.user]),
            told.grants[row.grant],
            row.valid_until,
            row.data_class,
        )
        for row in found.rows
    }
    return said | {b"": (found.held_back, told.policies, told.models, told.tenants)}


@contextmanager
def statements(rooms: Rooms) -> Iterator[list[str]]:
    """What this task asks the database meanwhile: the rooms have a press of their own."""
    asked: list[str] = []
    task = asyncio.current_task()

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if asyncio.current_task() is task:
            asked.append(statement)

    engine = rooms.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def add_keys(rooms: Rooms, tree: dict[str, Any], count: int) -> None:
    """Keys beside the tree's own, past the API, whose hashes would take their time."""
    place = {"tenant_id": tree["tenant"]["id"], "team_id": tree["team"]["id"], "user_id": tree["user"]["id"]}
    common = {"owner": "api", "disabled": False, "created_at": 1, "updated_at": 1}
    keys = [{"id": new_id(), "name": f"k{n}", **common, **place} for n in range(count)]
    secrets = [
        {
            "hash": f"b2:{rooms.hasher.pepper_id}:{random.randbytes(32).hex()}",
            "public_id": "abcdefgh",
            "key_id": key["id"],
            "tenant_id": key["tenant_id"],
            "created_at": 1,
        }
        for key in keys
    ]
    async with rooms.database.begin() as connection:
        await connection.execute(insert(KEYS), keys)
        await connection.execute(insert(KEY_SECRETS), secrets)


async def test_an_edit_of_one_key_reads_that_key_and_nothing_of_the_others(
    rooms: Rooms, api: httpx.AsyncClient
) -> None:
    tree, other = await make_tree(api), await make_tree(api, "umbrella")
    await add_keys(rooms, tree, MANY)
    first = await whole(rooms)
    assert first.read == MANY + 2
    path = f"/keys/{other['key']['id']}"
    steps: list[tuple[Any, int, tuple[int, int]]] = [
        (lambda: api.patch(path, json={"expires_at": LIVING}), 1, (1, 0)),
        (lambda: api.patch(path, json={"models": ["small"]}), 1, (1, 0)),
        (lambda: api.post(f"{path}/rotate", json={"overlap": 100}), 2, (2, 0)),
        (lambda: api.patch(path, json={"disabled": True}), 0, (0, 2)),
        (lambda: api.patch(path, json={"disabled": False}), 2, (2, 0)),
        (lambda: api.delete(path), 0, (0, 2)),
    ]
    for change, read, difference in steps:
        assert (await change()).is_success
        with statements(rooms) as asked:
            found = await after(rooms, first)
        assert found.difference is not None
        assert (found.read, len(found.difference.changed), len(found.difference.gone)) == (read, *difference)
        assert not [one for one in asked if "FROM users" in one or "FROM tenants" in one or "FROM endpoints" in one]
        assert meaning(found) == meaning(await whole(rooms))
        first = found
    with statements(rooms) as asked:
        assert (await after(rooms, first)).difference == Difference((), ())
    assert not [one for one in asked if "key_secrets" in one]


async def test_an_edit_above_reads_the_keys_below_it(rooms: Rooms, api: httpx.AsyncClient) -> None:
    trees = [await make_tree(api, f"t{number}") for number in range(6)]
    await add_keys(rooms, trees[0], MANY)
    first = await whole(rooms)
    await api.patch(f"/teams/{trees[1]['team']['id']}", json={"models": ["small"]})
    found = await after(rooms, first)
    assert found.difference is not None
    assert (found.read, len(found.difference.changed), found.difference.gone) == (1, 1, ())
    assert meaning(found) == meaning(await whole(rooms))
    await api.patch(f"/tenants/{trees[2]['tenant']['id']}", json={"name": "renamed"})
    renamed = await after(rooms, found)
    assert (renamed.read, renamed.difference) == (0, Difference((), ()))
    assert meaning(renamed) == meaning(await whole(rooms))
    await api.patch(f"/tenants/{trees[3]['tenant']['id']}", json={"disabled": True})
    moved = await after(rooms, renamed)
    assert (moved.read, moved.difference) == (0, None)  # rows point elsewhere now; none was read for that
    assert meaning(moved) == meaning(await whole(rooms))


class Users:
    """Rows of users that this task reads, as what is published of them and as holders of keys."""

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self._rows: list[str] = []
        self._task = asyncio.current_task()
        for module, name in ((names, "_user"), (roster, "_holder")):
            patched.setattr(module, name, self._noting(getattr(module, name)))

    def _noting(self, make: Any) -> Any:
        def note(row: Any, *more: Any) -> Any:
            if asyncio.current_task() is self._task:
                self._rows.append(make.__name__)
            return make(row, *more)

        return note

    def take(self) -> tuple[int, int]:
        """How many there were of each since the last call."""
        found = self._rows.count("_user"), self._rows.count("_holder")
        self._rows.clear()
        return found


async def test_a_user_is_made_without_a_look_at_the_others_and_moves_no_key(
    rooms: Rooms, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = [await make_tree(api, f"t{number}") for number in range(6)]
    await add_keys(rooms, trees[0], MANY)
    first, read = await whole(rooms), Users(monkeypatch)
    made = (await api.post("/users", json={"name": "new", "team_id": trees[0]["team"]["id"]})).json()["id"]
    found = await after(rooms, first)
    assert (read.take(), found.read, found.difference) == ((1, 1), 0, Difference((), ()))
    assert meaning(found) == meaning(await whole(rooms))
    await api.post("/keys", json={"name": "own", "user_id": made})
    read.take()
    issued = await after(rooms, found)
    assert issued.difference is not None
    assert (read.take(), issued.read, len(issued.difference.changed)) == ((0, 0), 1, 1)
    assert meaning(issued) == meaning(await whole(rooms))
    steps: list[tuple[dict[str, Any], tuple[int, int], int, int]] = [
        ({"name": "renamed"}, (1, 1), 0, 0),
        ({"models": ["small"]}, (1, 1), 1, 0),
        ({"disabled": True}, (1, 0), 0, 1),
    ]
    for edits, owners, changed, gone in steps:
        await api.patch(f"/users/{made}", json=edits)
        read.take()
        issued = await after(rooms, issued)
        assert issued.difference is not None
        assert (read.take(), len(issued.difference.changed), len(issued.difference.gone)) == (owners, changed, gone)
        assert meaning(issued) == meaning(await whole(rooms))
    for below in (await api.get("/keys", params={"user_id": made})).json()["data"]:
        await api.delete(f"/keys/{below['id']}")
    assert (await api.delete(f"/users/{made}")).is_success
    read.take()
    gone_too = await after(rooms, issued)
    assert (read.take(), gone_too.difference) == ((0, 0), Difference((), ()))
    assert meaning(gone_too) == meaning(await whole(rooms))
    assert made in gone_too.places.users, "its place is kept, so that nobody has to move"


async def test_any_row_of_changes_says_what_reading_everything_says(rooms: Rooms, api: httpx.AsyncClient) -> None:
    chance = random.Random(7)
    trees = [await make_tree(api, f"t{number}") for number in range(4)]
    found = await whole(rooms)
    for step in range(60):
        tree = chance.choice(trees)
        kind = chance.choice(["tenant", "team", "user", "key", "key"])
        path = f"/{kind}s/{tree[kind]['id']}"
        what = chance.randrange(7)
        if what == 0:
            await api.patch(path, json={"disabled": chance.random() < 0.5})
        elif what == 1:
            await api.patch(path, json={"models": chance.choice([None, ["a"], ["b", "c"], ["*"]])})
        elif what == 2:
            await api.patch(path, json={"data_class": chance.choice([None, "P1", "P2"])})
        elif what == 3 and kind == "key":
            await api.post(f"{path}/rotate", json={"overlap": chance.choice([0, 1000])})
        elif what == 4:
            trees.append(await make_tree(api, f"new{step}"))
        elif what == 5:
            await api.delete(path)
            await api.post("/policies", json={"name": f"p{step}", "effect": "deny", "models": ["large"]})
        elif what == 6:
            await api.post("/users", json={"name": f"u{step}", "team_id": tree["team"]["id"]})
        if chance.random() < 0.7:
            before, found = found, await after(rooms, found)
            assert meaning(found) == meaning(await whole(rooms)), step
            if found.difference is not None:
                rows = {row.digest: row for row in before.rows}
                for digest in found.difference.gone:
                    del rows[digest]
                rows.update({row.digest: row for row in found.difference.changed})
                assert rows == found.kept.good


async def test_what_ended_goes_and_comes_back_when_the_clock_does(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree, now = await make_tree(api), time.time()
    await add_keys(rooms, tree, 3)
    await api.patch(f"/keys/{tree['key']['id']}", json={"expires_at": round(now) + 1000})
    first = await whole(rooms)
    later = await after(rooms, first, now + 2000)
    assert later.difference is not None
    assert later.difference.gone == (rooms.hasher.digest(tree["token"].encode()),)
    back = await after(rooms, later, now)
    assert meaning(back) == meaning(first)


@pytest.mark.parametrize("how", ["rewritten", "taken out", "far behind"])
async def test_a_trail_that_does_not_go_on_from_there_makes_it_read_everything(
    rooms: Rooms, api: httpx.AsyncClient, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = await make_tree(api)
    await add_keys(rooms, tree, 3)
    first = await whole(rooms)
    for name in ("a", "b", "c"):
        await api.patch(f"/keys/{tree['key']['id']}", json={"name": name})
    assert (await after(rooms, first)).read == 1
    since = AUDIT_ENTRIES.c.seq == first.scene.mark.seq
    async with rooms.database.begin() as connection:
        if how == "rewritten":
            await connection.execute(update(AUDIT_ENTRIES).where(since).values(hash=bytes(32)))
        elif how == "taken out":
            await connection.execute(delete(AUDIT_ENTRIES).where(AUDIT_ENTRIES.c.seq == first.scene.mark.seq + 1))
    if how == "far behind":
        monkeypatch.setattr("controlplane.publish.touched.MOST", 2)
    found = await after(rooms, first)
    assert (found.read, found.difference) == (4, None)


async def test_a_publication_that_was_not_written_is_made_up_for(
    rooms: Rooms, api: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, pepper_id = tmp_path / "other", rooms.hasher.pepper_id
    press = Press(rooms.database, lambda: open_publisher(state, PEPPER, pepper_id), pepper_id, time.time)
    trees = [await make_tree(api, f"t{number}") for number in range(3)]
    assert await press.publish()
    publisher = press._publisher
    assert publisher is not None
    monkeypatch.setattr(publisher._writer, "commit", _no_space)
    await api.delete(f"/keys/{trees[0]['key']['id']}")
    with pytest.raises(OSError, match="No space"):
        await press.publish()
    monkeypatch.undo()
    await api.delete(f"/keys/{trees[1]['key']['id']}")
    assert await press.publish()
    assert publisher._base is not None
    kept = rooms.hasher.digest(trees[2]["token"].encode())
    assert [publisher._base.row(at).digest for at in range(len(publisher._base))] == [kept]
    assert publisher._delta is None
    await press.close()


def _no_space(_: bytes) -> None:
    raise OSError(28, "No space left on device")


def test_what_is_added_stands_behind_all_and_what_went_leaves_its_place_until_too_many_did() -> None:
    users = {f"u{number}": number for number in range(100)}
    places = Places({"t": 0}, {"g": 0}, users, {Scope(): 0})
    rows = Rows({bytes([n]) * 32: Row(bytes([n]) * 32, bytes(16), 0, 0, n, 0) for n in (3, 99)}, {})
    fewer = Places({"t": 0}, {"g": 0, "h": 1}, {"new": 0, "u3": 1} | {f"u{n}": n for n in range(50, 100)}, {})
    settled, now, moved = settle_places(rows, places, fewer)
    assert (settled, moved, now.teams) == (rows, False, {"g": 0, "h": 1})
    assert now.users == users | {"new": 100}
    few = Places({"t": 0}, {"g": 0}, {"new": 0, "u99": 1, "u3": 2}, {})
    settled, least, moved = settle_places(rows, now, few)
    assert (moved, least.users) == (True, few.users)
    assert [row.user for row in settled.good.values()] == [2, 1]


def test_grants_that_nobody_needs_do_not_pile_up() -> None:
    scopes = [Scope(models=(f"m{number}",)) for number in range(100)]
    places = Places({"t": 0}, {"g": 0}, {"u": 0}, {scope: place for place, scope in enumerate(scopes)})
    rows = Rows({bytes([n]) * 32: Row(bytes([n]) * 32, bytes(16), 0, 0, 0, n) for n in (10, 15)}, {})
    settled, now, moved = settle_places(rows, places, places)
    assert moved
    assert list(now.grants) == [scopes[10], scopes[15]]
    assert [row.grant for row in settled.good.values()] == [0, 1]
    assert KeyTable.open(build(settled.good.values(), "0" * 8)).is_delta is False
    few = Places(places.tenants, places.teams, places.users, {scope: n for n, scope in enumerate(scopes[:20])})
    assert settle_places(rows, few, few) == (rows, few, False)
