"""Provider keys: sealed to their row, opened by the right master key alone, sealed anew row by row while running."""

import asyncio
import os
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from controlplane.access.principal import Actor
from controlplane.app import Rooms
from controlplane.secrets.master import MasterKeyError, parse_keyring
from controlplane.secrets.seal import Keyring, MasterKey, SealError, key_id
from controlplane.secrets.tables import PROVIDER_KEYS
from fastpath.settings.secret import Secret

ROW = "0" * 32


def test_a_sealed_secret_opens_in_its_row_and_nowhere_else() -> None:
    key = MasterKey(os.urandom(32))
    sealed = key.seal(Secret("sk-canary"), ROW)
    assert key.open(sealed, ROW) == Secret("sk-canary")
    assert b"sk-canary" not in sealed
    assert key_id(sealed) == key.id
    assert key.seal(Secret("sk-canary"), ROW) != sealed, "nonces are random"
    with pytest.raises(SealError):
        key.open(sealed, "1" * 32)


def test_every_altered_byte_is_noticed() -> None:
    keyring = Keyring([MasterKey(os.urandom(32))])
    sealed = keyring.seal(Secret("sk"), ROW)
    for place in range(len(sealed)):
        with pytest.raises(SealError):
            keyring.open(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], ROW)
    for size in range(len(sealed)):
        with pytest.raises(SealError):
            keyring.open(sealed[:size], ROW)


@pytest.mark.parametrize("text", ["", "\n", "00" * 32, "ab" * 31, "zz" * 32, "ab" * 16 + "cd" * 16 + "\nxx"])
def test_texts_that_are_no_master_key(text: str) -> None:
    with pytest.raises(MasterKeyError, match="the file") as refused:
        parse_keyring(text, "the file")
    assert not text.strip() or text.strip()[:8] not in str(refused.value)


async def sealed_rows(rooms: Rooms) -> dict[str, bytes]:
    async with rooms.database.read() as connection:
        return {row.id: bytes(row.sealed) for row in await connection.execute(select(PROVIDER_KEYS))}


async def test_the_master_key_rotates_while_keys_are_used(rooms: Rooms, api: httpx.AsyncClient, store: Any) -> None:
    made = [(await api.post("/provider-keys", json={"name": f"p{n}", "value": f"sk-{n}"})).json() for n in range(5)]
    path = store.folder / "master.key"
    old = path.read_text().strip()
    path.write_text(f"{os.urandom(32).hex()}\n{old}\n")

    async def use() -> None:
        for number, each in enumerate(made * 4):
            assert await rooms.vault.reveal(each["id"]) == Secret(f"sk-{number % 5}")

    rotating, *_ = await asyncio.gather(api.post("/master-key/rotate"), use(), use())
    assert rotating.json()["resealed"] == 5
    assert rotating.json()["left"] == 0
    assert {key_id(sealed).hex() for sealed in (await sealed_rows(rooms)).values()} == {rotating.json()["master_key"]}
    path.write_text(path.read_text().splitlines()[0])
    assert (await api.post("/master-key/rotate")).json()["resealed"] == 0, "the old one is needed no more"
    await use()


async def test_a_rotation_that_lacks_the_old_key_begins_nothing(
    rooms: Rooms, api: httpx.AsyncClient, store: Any
) -> None:
    made = (await api.post("/provider-keys", json={"name": "p", "value": "sk-p"})).json()
    before = await sealed_rows(rooms)
    (store.folder / "master.key").write_text(os.urandom(32).hex())
    answer = await api.post("/master-key/rotate")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "master_key")
    assert await sealed_rows(rooms) == before
    assert await rooms.vault.reveal(made["id"]) == Secret("sk-p")


async def test_a_rotation_that_was_cut_off_goes_on(rooms: Rooms, api: httpx.AsyncClient) -> None:
    for number in range(3):
        await api.post("/provider-keys", json={"name": f"p{number}", "value": f"sk-{number}"})
    old = rooms.vault.load().current
    new = MasterKey(os.urandom(32))
    first = next(iter(await sealed_rows(rooms)))
    async with rooms.database.begin() as connection:
        sealed = new.seal(await rooms.vault.reveal(first), first)
        await connection.execute(update(PROVIDER_KEYS).where(PROVIDER_KEYS.c.id == first).values(sealed=sealed))
    done = await rooms.vault.rotate(Actor("test"), Keyring([new, old]))
    assert (done.resealed, done.left) == (2, 0)
    for row in await sealed_rows(rooms):
        assert (await rooms.vault.reveal(row)).reveal().startswith("sk-")


async def test_an_edit_of_a_provider_key_touches_its_field(rooms: Rooms, api: httpx.AsyncClient) -> None:
    made = (await api.post("/provider-keys", json={"name": "p", "value": "sk-p"})).json()
    before = await sealed_rows(rooms)
    assert (await api.patch(f"/provider-keys/{made['id']}", json={"name": "q"})).json()["name"] == "q"
    assert await sealed_rows(rooms) == before
    await api.patch(f"/provider-keys/{made['id']}", json={"value": "sk-q"})
    assert await rooms.vault.reveal(made["id"]) == Secret("sk-q")
    assert (await api.get(f"/provider-keys/{made['id']}")).json()["name"] == "q"
    assert (await api.patch(f"/provider-keys/{made['id']}", json={"value": "with space"})).status_code == 400
    edits = [entry for entry in (await api.get("/audit")).json()["data"] if entry["action"] == "provider_key.edit"]
    assert [entry["after"] for entry in edits] == [{"value": "***"}, {"name": "q"}]
