"""From the database to a signed publication: what is in it, when there is one, and what is held back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from _native.keytable import ROW_SIZE, KeyTable, build
from controlplane.app import Rooms
from controlplane.publish.compile import Compiled, compile_all
from controlplane.publish.press import LOOK_EVERY, Press, open_press, open_publisher
from controlplane.settings import ControlSettings
from controlplane.store.metadata import micros
from fastpath.account.tariff import Accounts
from fastpath.app import join_published
from fastpath.identity.published import Published, PublishedKeys
from fastpath.publication import Folder, Manifest, PublicationError, Publisher, make_signer, read_trust
from fastpath.settings import Key, Residency, Settings
from fastpath.settings.control import PUBLISHED, TRUSTED
from fastpath.settings.file import validate
from fastpath.settings.roster import decode_roster
from tests.controlplane.conftest import LIVING, make_tree

PEPPER = b"p" * 32


async def compiled(rooms: Rooms, at: float | None = None) -> Compiled:
    async with rooms.database.read() as connection:
        return await compile_all(connection, micros(at or time.time()), rooms.hasher.pepper_id)


async def published(rooms: Rooms, at: float | None = None) -> Published:
    """As a worker opens it."""
    found = await compiled(rooms, at)
    return Published.open(found.roster, [KeyTable.open(build(found.rows, rooms.hasher.pepper_id))])


async def key_of(rooms: Rooms, token: str) -> Key | None:
    """What a worker makes of a token."""
    keys = PublishedKeys((), rooms.hasher, time.time, await published(rooms), frozenset())
    return keys.find(b"Bearer " + token.encode())


async def test_a_tree_becomes_a_tenant_and_a_key_that_settings_could_have(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, currency="EUR", time_zone="Europe/Berlin", models=["small"])
    await api.patch(f"/keys/{tree['key']['id']}", json={"expires_at": LIVING})
    found = await compiled(rooms)
    (tenant,), (row,) = decode_roster(found.roster).tenants, found.rows
    key = await key_of(rooms, tree["token"])
    assert key is not None
    of_file = Settings.for_upstream("http://127.0.0.1:9/v1")
    validate(replace(of_file, tenants=(tenant,), keys=(key,)))
    assert (tenant.name, tenant.currency, tenant.time_zone) == ("acme", "EUR", "Europe/Berlin")
    assert [team.name for team in tenant.teams] == ["acme-team"]
    assert [(user.name, user.team) for user in tenant.users] == [("acme-team/acme-user", "acme-team")]
    assert key.name == f"acme/acme-team/acme-user/{tree['key']['id']}"
    assert (key.tenant, key.team, key.user, key.models) == ("acme", "acme-team", "acme-team/acme-user", ("small",))
    assert key.ids == tuple(tree[kind]["id"] for kind in ("tenant", "team", "user", "key"))
    assert key.hash == rooms.hasher.hash_bytes(tree["token"].encode())
    assert (row.digest.hex(), row.key_id.hex()) == (key.hash[-64:], tree["key"]["id"])
    assert row.valid_until == LIVING * 1000
    assert found.held_back == ()


async def test_both_secrets_of_a_key_that_was_rotated_are_that_key_and_the_old_one_has_its_end(
    rooms: Rooms, api: httpx.AsyncClient
) -> None:
    tree = await make_tree(api)
    newer = (await api.post(f"/keys/{tree['key']['id']}/rotate", json={"overlap": 100})).json()["token"]
    found = [await key_of(rooms, token) for token in (tree["token"], newer)]
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].name, found[0].ids) == (found[1].name, found[1].ids)
    old = bytes.fromhex(found[0].hash[-64:])
    assert [bool(row.valid_until) for row in (await compiled(rooms)).rows if row.digest == old] == [True]
    assert len((await compiled(rooms, time.time() + 101)).rows) == 1


async def test_equal_grants_stand_once_and_rows_point_at_theirs(rooms: Rooms, api: httpx.AsyncClient) -> None:
    trees = [await make_tree(api, f"t{number}", models=["small"] if number % 2 else ["large"]) for number in range(4)]
    roster = decode_roster((await compiled(rooms)).roster)
    assert sorted(grant.models for grant in roster.grants) == [("large",), ("small",)]
    keys = [await key_of(rooms, tree["token"]) for tree in trees]
    assert [key and (key.tenant, key.models) for key in keys] == [
        (f"t{number}", ("small",) if number % 2 else ("large",)) for number in range(4)
    ]


async def test_what_owners_limit_is_in_the_grant(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, paths=["/v1/embeddings", "/v1/models"], data_class="P1", networks=["10.0.0.0/8"])
    limits = {"networks": ["10.1.0.0/16", "fd00::/8"], "paths": ["/v1/embeddings"]}
    await api.patch(f"/teams/{tree['team']['id']}", json={"networks": ["10.0.0.0/9"]})
    await api.patch(f"/keys/{tree['key']['id']}", json={"networks": ["10.1.0.0/16"], "paths": limits["paths"]})
    key = await key_of(rooms, tree["token"])
    assert key is not None
    assert (key.paths, key.networks, key.data_class) == (("/v1/embeddings",), ("10.1.0.0/16",), "P1")
    assert (await compiled(rooms)).rows[0].data_class == 1
    assert (await compiled(rooms)).held_back == ()


async def test_a_limit_to_everything_is_none(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, paths=["*"])
    key = await key_of(rooms, tree["token"])
    assert key is not None
    assert (key.paths, key.networks, key.data_class) == (None, None, None)


async def test_what_is_disabled_or_deleted_is_absent(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree, other = await make_tree(api), await make_tree(api, "umbrella")
    await api.patch(f"/tenants/{tree['tenant']['id']}", json={"disabled": True})
    assert [tenant.name for tenant in (await published(rooms)).roster.tenants] == ["umbrella"]
    await api.delete(f"/keys/{other['key']['id']}")
    assert [await key_of(rooms, each["token"]) for each in (tree, other)] == [None, None]


@pytest.fixture
async def press(rooms: Rooms, tmp_path: Path) -> AsyncIterator[Press]:
    """Another press on the database of `rooms`, into a folder of its own: as of a second node."""
    async with open_press(rooms.database, tmp_path / "other", PEPPER, rooms.hasher.pepper_id, time.time) as opened:
        yield opened


async def reach(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def test_what_another_process_changed_is_published_too(
    rooms: Rooms, api: httpx.AsyncClient, press: Press, tmp_path: Path
) -> None:
    await reach(lambda: press.published)
    before = press.published
    await make_tree(api)
    await reach(lambda: press.published > before)


async def test_changes_in_a_row_share_a_publication_and_the_same_is_not_published_twice(
    rooms: Rooms, api: httpx.AsyncClient, press: Press
) -> None:
    await reach(lambda: press.published)
    tree = await make_tree(api)
    await reach(lambda: press.published > 1)
    before, began = press.published, time.monotonic()
    for number in range(30):
        await api.patch(f"/tenants/{tree['tenant']['id']}", json={"name": f"acme-{number}"})
        press.changed()
    most = (time.monotonic() - began) / 0.2 + 2
    await asyncio.sleep(2 * LOOK_EVERY)
    assert before < press.published <= before + most
    settled = press.published
    await api.post("/admin-keys", json={"name": "eve", "role": "auditor"})  # no caller's key
    assert await press.publish() is False
    assert press.published == settled


async def test_a_change_of_one_key_writes_that_key_and_not_all_of_them(
    rooms: Rooms, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    state, pepper_id = tmp_path / "fifth", rooms.hasher.pepper_id
    press = Press(rooms.database, lambda: open_publisher(state, PEPPER, pepper_id), pepper_id, time.time)
    empty = len(build([], pepper_id))

    async def publish() -> Manifest:
        assert await press.publish()
        envelope, trust = Folder(state / PUBLISHED).envelope(), read_trust(state / TRUSTED)
        assert envelope is not None
        assert trust is not None
        return trust.open(envelope)

    trees = [await make_tree(api, f"t{number}") for number in range(3)]
    before = await publish()
    assert (before.base.size, before.delta) == (empty + 3 * ROW_SIZE, None)
    await api.delete(f"/keys/{trees[0]['key']['id']}")
    deleted = await publish()
    assert deleted.base == before.base
    assert deleted.delta is not None
    assert deleted.delta.size == empty + ROW_SIZE
    await api.patch(f"/tenants/{trees[1]['tenant']['id']}", json={"name": "renamed"})
    await api.post("/policies", json={"name": "closed", "effect": "deny", "models": ["large"]})
    renamed = await publish()
    assert (renamed.base, renamed.delta) == (deleted.base, deleted.delta), "rows point where they did"
    assert renamed.settings != deleted.settings
    await api.post("/users", json={"name": "new", "team_id": trees[0]["team"]["id"]})
    joined = await publish()
    assert (joined.base, joined.delta) == (deleted.base, deleted.delta), "one more in the first tenant moves nobody"
    assert joined.settings != renamed.settings
    await api.patch(f"/tenants/{trees[0]['tenant']['id']}", json={"disabled": True})
    assert (await publish()).delta is None  # a row that did not change would point at something else by now
    await press.close()


async def test_a_folder_that_is_taken_is_waited_for_and_what_was_committed_last_is_published(
    rooms: Rooms, api: httpx.AsyncClient, store: ControlSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "third"
    holder: Publisher = open_publisher(folder, PEPPER, rooms.hasher.pepper_id)
    with caplog.at_level(logging.WARNING):
        async with open_press(rooms.database, folder, PEPPER, rooms.hasher.pepper_id, time.time) as waiting:
            await reach(lambda: "is written by another process" in caplog.text)
            assert waiting.published == 0
            holder.close()
            await reach(lambda: waiting.published)
            await make_tree(api)
        assert waiting.published == 2  # the second at the end, since there was a change
    assert caplog.text.count("is written by another process") == 1


async def test_versions_grow_over_restarts_and_a_foreign_signing_key_is_refused(rooms: Rooms, tmp_path: Path) -> None:
    folder, versions = tmp_path / "fourth", []
    for _ in range(3):
        publisher = open_publisher(folder, PEPPER, rooms.hasher.pepper_id)
        versions.append(publisher.publish_all(b"", ()).version)
        publisher.close()
    assert versions == sorted(set(versions))
    trust = read_trust(folder / TRUSTED)
    assert trust is not None
    assert trust.keys == (make_signer(folder).public,)
    assert (folder / TRUSTED).stat().st_mode & 0o777 == 0o600
    (folder / "signing-key").unlink()
    with pytest.raises(PublicationError, match="does not list the key"):
        open_publisher(folder, PEPPER, rooms.hasher.pepper_id)
    assert Folder(folder / PUBLISHED).envelope() is not None


class Stumbling(Press):
    """Makes a mistake once."""

    tries = 0

    async def publish(self) -> bool:
        self.tries += 1
        if self.tries == 1:
            raise TypeError("a mistake")
        return await super().publish()


async def test_a_bug_does_not_stop_later_publications(
    rooms: Rooms, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pepper_id = rooms.hasher.pepper_id
    press = Stumbling(
        rooms.database, lambda: open_publisher(tmp_path / "fifth", PEPPER, pepper_id), pepper_id, time.time
    )
    working = asyncio.create_task(press.run())
    await reach(lambda: press.published)
    press.stop()
    await working
    await press.close()
    assert "because of a bug" in caplog.text


async def test_a_tenant_is_published_with_its_class_and_residency(rooms: Rooms, api: httpx.AsyncClient) -> None:
    placed = {"default_class": "P0", "residency_tiers": ["L0", "L1"], "residency_regions": ["eu"]}
    tree = await make_tree(api, **placed)
    path = f"/tenants/{tree['tenant']['id']}"
    shown = (await api.get(path)).json()
    assert {field: shown[field] for field in placed} == placed
    (tenant,) = decode_roster((await compiled(rooms)).roster).tenants
    assert tenant.data_class == "P0"
    assert tenant.residency == Residency(tiers=("L0", "L1"), regions=("eu",))
    assert (await api.patch(path, json=dict.fromkeys(placed))).status_code == 200
    (tenant,) = decode_roster((await compiled(rooms)).roster).tenants
    assert (tenant.data_class, tenant.residency) == (None, None)
    for wrong in ({"default_class": "P3"}, {"residency_tiers": []}, {"residency_tiers": ["L9"]}):
        assert (await api.patch(path, json=wrong)).status_code == 400


async def test_a_tenant_is_published_with_its_markup_and_billed_by_it(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, markup_ppm=200_000)
    path = f"/tenants/{tree['tenant']['id']}"
    assert (await api.get(path)).json()["markup_ppm"] == 200_000
    key = await key_of(rooms, tree["token"])
    settings = Settings.for_upstream("http://127.0.0.1:9/v1")

    async def billed() -> int | None:
        return Accounts(join_published(settings, await published(rooms))).of(key).markup_ppm

    assert await billed() == 200_000
    for say in (-1_000_000, 1_000_000_000, 0, None):
        assert (await api.patch(path, json={"markup_ppm": say})).json()["markup_ppm"] == say
        assert await billed() == say
    for wrong in (-1_000_001, 1_000_000_001, 1.5, "much", True):
        assert (await api.patch(path, json={"markup_ppm": wrong})).status_code == 400
    told = (await api.get("/audit", params={"object_id": tree["tenant"]["id"]})).json()["data"]
    assert [(one["before"], one["after"]) for one in told[:2]] == [
        ({"markup_ppm": 0}, {"markup_ppm": None}),
        ({"markup_ppm": 1_000_000_000}, {"markup_ppm": 0}),
    ]


async def test_a_damaged_markup_is_said_and_not_used(rooms: Rooms, api: httpx.AsyncClient) -> None:
    if rooms.database.dialect == "postgresql":
        pytest.skip("an INTEGER is one there")
    await make_tree(api, markup_ppm=200_000)
    async with rooms.database.begin() as connection:
        await connection.execute(text("UPDATE tenants SET markup_ppm = 1.5"))
    found = await compiled(rooms)
    assert decode_roster(found.roster).tenants[0].markup_ppm is None
    assert "markup" in found.held_back[0]
    with pytest.raises(IntegrityError):
        async with rooms.database.begin() as connection:
            await connection.execute(text("UPDATE tenants SET markup_ppm = -1000001"))


async def test_a_damaged_row_keeps_its_data_at_home(rooms: Rooms, api: httpx.AsyncClient) -> None:
    await make_tree(api)
    async with rooms.database.begin() as connection:
        await connection.execute(text("UPDATE tenants SET residency_tiers = '[\"L9\"]'"))
    (tenant,) = decode_roster((await compiled(rooms)).roster).tenants
    assert (tenant.data_class, tenant.residency) == ("P0", Residency(tiers=("L0", "L1")))
