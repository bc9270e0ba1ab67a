"""From the database to a signed publication: what is in it, when there is one, and what is held back."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from controlplane.app import Rooms
from controlplane.publish.compile import Compiled, compile_all
from controlplane.publish.press import LOOK_EVERY, Press, open_press, open_publisher
from controlplane.settings import ControlSettings
from controlplane.store.metadata import micros
from fastpath.publication import Folder, PublicationError, Publisher, make_signer, read_trust
from fastpath.settings import Settings, decode_settings
from fastpath.settings.control import PUBLISHED, TRUSTED
from fastpath.settings.file import validate
from tests.controlplane.conftest import LIVING, make_tree

PEPPER = b"p" * 32


async def compiled(rooms: Rooms, at: float | None = None) -> Compiled:
    async with rooms.database.read() as connection:
        return await compile_all(connection, micros(at or time.time()), rooms.hasher.pepper_id)


async def settings_of(rooms: Rooms) -> Settings:
    return decode_settings((await compiled(rooms)).settings)


async def test_a_tree_becomes_a_tenant_and_a_key_that_settings_could_have(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, currency="EUR", time_zone="Europe/Berlin", models=["small"])
    await api.patch(f"/keys/{tree['key']['id']}", json={"expires_at": LIVING})
    found = await compiled(rooms)
    settings = decode_settings(found.settings)
    of_file = Settings.for_upstream("http://127.0.0.1:9/v1")
    validate(replace(of_file, tenants=settings.tenants, keys=settings.keys))
    (tenant,), (key,), (row,) = settings.tenants, settings.keys, found.rows
    assert (tenant.name, tenant.currency, tenant.time_zone) == ("acme", "EUR", "Europe/Berlin")
    assert [team.name for team in tenant.teams] == ["acme-team"]
    assert [(user.name, user.team) for user in tenant.users] == [("acme-team/acme-user", "acme-team")]
    assert key.name == "acme/acme-team/acme-user/acme-key"
    assert (key.tenant, key.team, key.user, key.models) == ("acme", "acme-team", "acme-team/acme-user", ("small",))
    assert key.hash == rooms.hasher.hash_bytes(tree["token"].encode())
    assert (row.digest.hex(), row.key_id.hex()) == (key.hash[-64:], tree["key"]["id"])
    assert row.valid_until == LIVING * 1000
    assert found.ends == LIVING * 1_000_000
    assert found.held_back == ()


async def test_old_secrets_have_their_own_names_and_are_gone_when_they_end(
    rooms: Rooms, api: httpx.AsyncClient
) -> None:
    tree = await make_tree(api)
    old = tree["token"].split("-")[1]
    await api.post(f"/keys/{tree['key']['id']}/rotate", json={"overlap": 100})
    label = "acme/acme-team/acme-user/acme-key"
    assert sorted(key.name for key in (await settings_of(rooms)).keys) == [label, f"{label}:{old}"]
    later = decode_settings((await compiled(rooms, time.time() + 101)).settings)
    assert [key.name for key in later.keys] == [label]


async def test_names_that_would_read_the_same_are_told_apart(rooms: Rooms, api: httpx.AsyncClient) -> None:
    for number, (team, user) in enumerate((("a/b", "c"), ("a", "b/c"))):
        tree = await make_tree(api, f"t{number}")
        above = (await api.post("/teams", json={"name": team, "tenant_id": tree["tenant"]["id"]})).json()
        below = (await api.post("/users", json={"name": user, "team_id": above["id"]})).json()
        await api.post("/keys", json={"name": "k", "user_id": below["id"]})
    names = [key.name for key in (await settings_of(rooms)).keys]
    assert len(set(names)) == len(names) == 4
    tenant = await make_tree(api, "same")
    ids = []
    for team, user in (("x/y", "z"), ("x", "y/z")):
        above = (await api.post("/teams", json={"name": team, "tenant_id": tenant["tenant"]["id"]})).json()
        below = (await api.post("/users", json={"name": user, "team_id": above["id"]})).json()
        ids.append((await api.post("/keys", json={"name": "k", "user_id": below["id"]})).json()["key"]["id"])
    names = [key.name for key in (await settings_of(rooms)).keys]
    assert len(set(names)) == len(names) == 7
    assert {f"key:{each}" for each in ids} <= set(names)


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ({"networks": ["10.0.0.0/8"]}, "its networks"),
        ({"paths": ["/v1/embeddings"]}, "its paths"),
        ({"data_class": "P2"}, "its data class"),
        ({"paths": ["/v1/embeddings"], "networks": ["::/0"]}, "its paths and networks"),
    ],
)
async def test_a_key_is_held_back_where_nothing_would_hold_its_limit(
    rooms: Rooms, api: httpx.AsyncClient, scope: dict[str, Any], says: str
) -> None:
    tree = await make_tree(api)
    assert (await api.patch(f"/teams/{tree['team']['id']}", json=scope)).status_code == 200
    found = await compiled(rooms)
    assert (found.rows, decode_settings(found.settings).keys) == ((), ())
    (reason,) = found.held_back
    assert tree["key"]["id"] in reason
    assert says in reason


async def test_a_limit_to_everything_is_none(rooms: Rooms, api: httpx.AsyncClient) -> None:
    await make_tree(api, paths=["*"], data_class="P0")
    assert len((await compiled(rooms)).rows) == 1


async def test_what_is_disabled_or_deleted_is_absent(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree, other = await make_tree(api), await make_tree(api, "umbrella")
    await api.patch(f"/tenants/{tree['tenant']['id']}", json={"disabled": True})
    assert [tenant.name for tenant in (await settings_of(rooms)).tenants] == ["umbrella"]
    await api.delete(f"/keys/{other['key']['id']}")
    assert ((await settings_of(rooms)).keys, (await compiled(rooms)).rows) == ((), ())


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
