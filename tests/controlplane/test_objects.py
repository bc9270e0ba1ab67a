"""Tenants, teams, users and keys, on both databases: an edit touches its field, names, owners, pages, keys' secrets."""

import time
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from controlplane.app import Rooms
from controlplane.audit.tables import AUDIT_ENTRIES
from controlplane.identity.objects import MICROS
from controlplane.identity.tables import KEY_SECRETS, KEYS, TEAMS, TENANTS, USERS
from tests.controlplane.conftest import LIVING, make_tree

TABLES = {"tenant": TENANTS, "team": TEAMS, "user": USERS, "key": KEYS}
COMMON: dict[str, Any] = {
    "name": "renamed",
    "disabled": True,
    "models": ["small"],
    "paths": ["/v1/embeddings"],
    "networks": ["10.1.0.0/16"],
    "data_class": "P2",
}
FIELDS = {
    "tenant": COMMON | {"time_zone": "Europe/Berlin", "markup_ppm": -100_000},
    "team": COMMON,
    "user": COMMON,
    "key": COMMON | {"expires_at": LIVING},
}
#: Columns that follow from others: who disabled it, and when it was last changed.
FOLLOW = {"disabled": {"disabled_by"}}


async def row_of(rooms: Rooms, kind: str, object_id: str) -> dict[str, Any]:
    table = TABLES[kind]
    async with rooms.database.read() as connection:
        return dict((await connection.execute(select(table).where(table.c.id == object_id))).mappings().one())


async def count_entries(rooms: Rooms) -> int:
    return (await rooms.trail.verify()).entries


@pytest.mark.parametrize("kind", TABLES)
async def test_an_edit_touches_its_field_and_no_other(rooms: Rooms, api: httpx.AsyncClient, kind: str) -> None:
    tree = await make_tree(api)
    path = f"/{kind}s/{tree[kind]['id']}"
    start = {"models": ["small", "large"], "paths": ["*"], "networks": ["10.0.0.0/8"], "data_class": "P1"}
    assert (await api.patch(path, json=start)).status_code == 200
    for field, value in FIELDS[kind].items():
        shown = (await api.get(path)).json()
        before = await row_of(rooms, kind, tree[kind]["id"])
        answer = (await api.patch(path, json={field: value})).json()
        after = await row_of(rooms, kind, tree[kind]["id"])
        changed = {column for column in after if after[column] != before[column]}
        assert changed == {field, "updated_at"} | FOLLOW.get(field, set()), field
        assert answer == shown | {field: value, "updated_at": answer["updated_at"]}
        assert (await api.get(path)).json() == answer


@pytest.mark.parametrize("kind", TABLES)
async def test_an_edit_of_nothing_changes_nothing(rooms: Rooms, api: httpx.AsyncClient, kind: str) -> None:
    tree = await make_tree(api, models=["small"])
    path = f"/{kind}s/{tree[kind]['id']}"
    row, entries = await row_of(rooms, kind, tree[kind]["id"]), await count_entries(rooms)
    for body in ({}, {"name": tree[kind]["name"]}, {"disabled": False}, {"data_class": None}):
        assert (await api.patch(path, json=body)).status_code == 200
    for body in ({"id": "0" * 32}, {"currency": "EUR"}, {"owner": "file"}, {"created_at": 1}, {"tenant_id": "0" * 32}):
        assert (await api.patch(path, json=body)).status_code == 400, body
    assert await row_of(rooms, kind, tree[kind]["id"]) == row
    assert await count_entries(rooms) == entries


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "line\n"}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"disabled": None}, "disabled"),
        ({"models": []}, "models"),
        ({"models": ["a*"]}, "models"),
        ({"models": ["*", "a"]}, "models"),
        ({"paths": ["/etc/passwd"]}, "paths"),
        ({"networks": ["10.0.0.1/8"]}, "networks"),
        ({"networks": ["localhost"]}, "networks"),
        ({"data_class": "P3"}, "data_class"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ],
)
async def test_values_that_mean_nothing_are_refused(api: httpx.AsyncClient, body: Any, param: str) -> None:
    tree = await make_tree(api)
    answer = await api.patch(f"/tenants/{tree['tenant']['id']}", json=body)
    assert answer.status_code == 400, answer.text
    assert param in (answer.json()["error"]["param"] or answer.json()["error"]["message"])


async def test_names_are_unique_in_their_scope(api: httpx.AsyncClient) -> None:
    one, other = await make_tree(api), await make_tree(api, "umbrella")
    for kind, owner in (("team", "tenant"), ("user", "team"), ("key", "user")):
        taken = {"name": one[kind]["name"], f"{owner}_id": one[owner]["id"]}
        refused = await api.post(f"/{kind}s", json=taken)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "name_taken")
        elsewhere = await api.post(f"/{kind}s", json=taken | {f"{owner}_id": other[owner]["id"]})
        assert elsewhere.status_code == 201
    refused = await api.patch(f"/tenants/{other['tenant']['id']}", json={"name": "acme"})
    assert refused.json()["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": "name",
        "code": "name_taken",
    }
    key = f"/keys/{one['key']['id']}"
    assert (await api.delete(key)).status_code == 204
    again = {"name": one["key"]["name"], "user_id": one["user"]["id"]}
    assert (await api.post("/keys", json=again)).status_code == 201, "the name of what is gone is free"


async def test_what_owns_others_is_not_deleted(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    for kind in ("tenant", "team", "user"):
        refused = await api.delete(f"/{kind}s/{tree[kind]['id']}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_empty")
    for kind in ("key", "user", "team", "tenant"):
        path = f"/{kind}s/{tree[kind]['id']}"
        assert (await api.delete(path)).status_code == 204
        assert [(await api.get(path)).status_code, (await api.delete(path)).status_code] == [404, 404]
        assert (await row_of(rooms, kind, tree[kind]["id"]))["deleted_at"] is not None


@pytest.mark.parametrize("kind", TABLES)
async def test_what_the_file_owns_is_read_only(rooms: Rooms, api: httpx.AsyncClient, kind: str) -> None:
    tree = await make_tree(api)
    table = TABLES[kind]
    async with rooms.database.begin() as connection:
        statement = update(table).where(table.c.id == tree[kind]["id"])
        await connection.execute(statement.values(owner="file", source="/etc/fastpath.yaml"))
    path = f"/{kind}s/{tree[kind]['id']}"
    row = await row_of(rooms, kind, tree[kind]["id"])
    acts = [api.patch(path, json={"disabled": True}), api.delete(path)]
    if kind == "key":
        acts.append(api.post(f"{path}/rotate", json={}))
    for act in acts:
        answer = await act
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "owned_by_file"
        assert "/etc/fastpath.yaml" in answer.json()["error"]["message"]
    assert await row_of(rooms, kind, tree[kind]["id"]) == row
    shown = (await api.get(path)).json()
    assert (shown["owner"], shown["source"]) == ("file", "/etc/fastpath.yaml")


async def test_pages_meet_every_object_once(api: httpx.AsyncClient) -> None:
    names = [f"t{number}" for number in range(7)]
    for name in names:
        await api.post("/tenants", json={"name": name})
    found: list[str] = []
    after = ""
    while True:
        page = (await api.get(f"/tenants?limit=3{after}")).json()
        found += [each["name"] for each in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
        await api.delete(f"/tenants/{page['data'][0]['id']}")  # moves nothing
    assert found == names
    for bad in ("limit=0", "limit=1001", "limit=x", "after=x", "after=1.zz", "tenant_id=%00"):
        place = "teams" if "tenant" in bad else "tenants"
        assert (await api.get(f"/{place}?{bad}")).status_code in (400, 404), bad


async def secrets_of(rooms: Rooms, key: str) -> list[Any]:
    async with rooms.database.read() as connection:
        statement = select(KEY_SECRETS).where(KEY_SECRETS.c.key_id == key).order_by(KEY_SECRETS.c.created_at)
        return list(await connection.execute(statement))


async def test_only_the_hash_of_a_key_is_stored(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    _, public, secret = tree["token"].split("-")
    assert (len(public), len(secret)) == (8, 64)
    (stored,) = await secrets_of(rooms, tree["key"]["id"])
    assert stored.hash == rooms.hasher.hash_bytes(tree["token"].encode())
    assert stored.hash.startswith(f"b2:{rooms.hasher.pepper_id}:")
    assert secret not in (await api.get(f"/keys/{tree['key']['id']}")).text
    assert tree["key"]["secrets"][0]["public_id"] == public


async def test_a_rotated_key_overlaps_until_its_moment(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    path = f"/keys/{tree['key']['id']}/rotate"
    began = time.time()
    rotated = (await api.post(path, json={"overlap": 60})).json()
    assert rotated["token"] != tree["token"]
    old, new = await secrets_of(rooms, tree["key"]["id"])
    assert began + 59 < old.valid_until / MICROS < time.time() + 61
    assert new.valid_until is None
    assert new.hash == rooms.hasher.hash_bytes(rotated["token"].encode())
    await api.post(path, json={"overlap": 3600})
    first, second, _ = await secrets_of(rooms, tree["key"]["id"])
    assert first.valid_until == old.valid_until, "a later rotation prolongs nothing"
    assert second.valid_until > first.valid_until
    last = (await api.post(path, json={"overlap": 0})).json()
    (only,) = await secrets_of(rooms, tree["key"]["id"])
    assert only.hash == rooms.hasher.hash_bytes(last["token"].encode())


async def test_secrets_of_a_key_are_bounded(api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    path = f"/keys/{tree['key']['id']}/rotate"
    for _ in range(7):
        assert (await api.post(path, json={})).status_code == 200
    assert (await api.post(path, json={})).json()["error"]["code"] == "too_many_secrets"
    assert (await api.post(path, json={"overlap": 0})).status_code == 200


async def test_a_revoked_key_leaves_no_hash(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    assert (await api.delete(f"/keys/{tree['key']['id']}")).status_code == 204
    assert await secrets_of(rooms, tree["key"]["id"]) == []


async def test_a_key_does_not_end_in_the_past(api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    past = int(time.time()) - 5
    body = {"name": "late", "user_id": tree["user"]["id"], "expires_at": past}
    for answer in (
        await api.post("/keys", json=body),
        await api.patch(f"/keys/{tree['key']['id']}", json={"expires_at": past}),
    ):
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expires_at")


async def test_ids_are_128_random_bits(api: httpx.AsyncClient) -> None:
    trees = [await make_tree(api, name) for name in ("a", "b", "c")]
    ids = [tree[kind]["id"] for tree in trees for kind in TABLES]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 32 and int(each, 16) for each in ids)


async def test_a_refused_request_writes_nothing(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api, models=["small"])
    entries = await count_entries(rooms)
    for method, path, body in (
        ("POST", "/tenants", {"name": "acme"}),
        ("POST", "/keys", {"name": "k", "user_id": tree["user"]["id"], "models": ["huge"]}),
        ("PATCH", f"/users/{tree['user']['id']}", {"name": "fine", "models": ["huge"]}),
        ("DELETE", f"/tenants/{tree['tenant']['id']}", None),
    ):
        assert (await api.request(method, path, json=body)).status_code >= 400
    assert await count_entries(rooms) == entries
    async with rooms.database.read() as connection:
        assert len(list(await connection.execute(select(AUDIT_ENTRIES)))) == entries
    assert (await api.get(f"/users/{tree['user']['id']}")).json() == tree["user"]
