"""What a snapshot is compiled from: good keys only, each with what is left along its owners."""

import time
from typing import Any

import httpx
import pytest

from controlplane.app import Rooms
from controlplane.identity.roster import KeySecret, read_holders, read_secrets
from controlplane.identity.scope import Scope, exceeded, meet
from controlplane.store.metadata import micros
from tests.controlplane.conftest import LIVING, make_tree


async def roster(rooms: Rooms, at: float | None = None) -> list[KeySecret]:
    async with rooms.database.read() as connection:
        holders = await read_holders(connection)
        moment = micros(time.time() if at is None else at)
        return [each async for batch in read_secrets(connection, holders, moment) for each in batch]


async def test_a_key_is_there_with_what_is_left_of_its_scope(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, models=["small", "large"], networks=["10.0.0.0/8"], data_class="P0")
    await api.patch(f"/teams/{tree['team']['id']}", json={"models": ["small"], "data_class": "P1"})
    await api.patch(f"/users/{tree['user']['id']}", json={"networks": ["10.1.0.0/16"]})
    await api.patch(f"/keys/{tree['key']['id']}", json={"paths": ["/v1/embeddings"], "expires_at": LIVING})
    (found,) = await roster(rooms)
    assert found.hash == rooms.hasher.hash_bytes(tree["token"].encode())
    assert found.scope == Scope(("small",), ("/v1/embeddings",), ("10.1.0.0/16",), "P1")
    places = (found.holder.tenant, found.holder.team, found.holder.user, found.key)
    assert places == tuple(tree[kind]["id"] for kind in ("tenant", "team", "user", "key"))
    assert found.ends == LIVING * 1_000_000


async def test_a_wildcard_below_a_limit_is_the_limit(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    await api.patch(f"/keys/{tree['key']['id']}", json={"models": ["*"]})
    await api.patch(f"/tenants/{tree['tenant']['id']}", json={"models": ["small"]})
    (found,) = await roster(rooms)
    assert found.scope.models == ("small",)


@pytest.mark.parametrize("kind", ["tenant", "team", "user", "key"])
async def test_what_is_disabled_above_takes_its_keys_along(rooms: Rooms, api: httpx.AsyncClient, kind: str) -> None:
    tree, other = await make_tree(api), await make_tree(api, "umbrella")
    path = f"/{kind}s/{tree[kind]['id']}"
    assert len(await roster(rooms)) == 2
    await api.patch(path, json={"disabled": True})
    assert [each.key for each in await roster(rooms)] == [other["key"]["id"]]
    await api.patch(path, json={"disabled": False})
    assert len(await roster(rooms)) == 2


async def test_old_secrets_end_on_time(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    await api.post(f"/keys/{tree['key']['id']}/rotate", json={"overlap": 100})
    assert sorted(each.ends is None for each in await roster(rooms)) == [False, True]
    assert len(await roster(rooms, time.time() + 101)) == 1
    await api.delete(f"/keys/{tree['key']['id']}")
    assert await roster(rooms) == []


SCOPES: tuple[Any, ...] = (
    Scope(),
    Scope(("a", "b"), None, ("10.0.0.0/8", "fd00::/8"), "P1"),
    Scope(("b", "c"), ("*",), ("10.1.0.0/16",), "P0"),
    Scope(("*",), ("/v1/embeddings",), ("0.0.0.0/0",), "P2"),
    Scope(("d",), ("/v1/models",), ("192.168.0.0/16",), None),
)


@pytest.mark.parametrize("one", SCOPES)
@pytest.mark.parametrize("other", SCOPES)
def test_what_two_leave_fits_both(one: Scope, other: Scope) -> None:
    left = meet(one, other)
    assert exceeded(one, left) is None
    assert exceeded(other, left) is None
    assert meet(left, left) == left
    again = meet(other, one)
    assert {*(again.models or ())} == {*(left.models or ())}
    assert {*(again.networks or ())} == {*(left.networks or ())}
    assert again.data_class == left.data_class
