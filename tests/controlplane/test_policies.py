"""Policies of the admin API, on both databases: who may write which, edits, and what of them is published."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text, update

from controlplane.app import Rooms
from controlplane.policies import policies as room
from controlplane.policies.tables import POLICIES
from fastpath.settings import Conditions, Policy
from fastpath.settings.roster import decode_roster
from tests.controlplane.conftest import make_tree
from tests.controlplane.test_publish import compiled

RULE: dict[str, Any] = {
    "name": "office",
    "effect": "deny",
    "subjects": ["team:core", "key:lap*"],
    "models": ["gpt-*"],
    "tiers": ["L2"],
    "classes": ["P0"],
    "paths": ["/v1/images/*"],
    "networks": ["10.0.0.0/8"],
    "times": [{"days": ["mon"], "start": "09:00", "end": "17:00", "time_zone": "Europe/Berlin"}],
    "unless": {"networks": ["10.1.0.0/16"]},
}


async def rules_of(rooms: Rooms) -> tuple[Policy, ...]:
    """As they are published."""
    return decode_roster((await compiled(rooms)).roster).policies


async def chief_of(api: httpx.AsyncClient, tenant: str) -> dict[str, str]:
    """Headers of a new tenant-admin."""
    body = {"name": f"chief-{tenant[:6]}", "role": "tenant-admin", "tenant_id": tenant}
    issued = (await api.post("/admin-keys", json=body)).json()
    return {"authorization": f"Bearer {issued['token']}"}


async def entries(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    found = (await api.get("/audit?limit=1000")).json()["data"]
    return [entry for entry in found if entry["kind"] == "policy"]


async def test_a_rule_is_shown_as_it_was_written_and_published_as_a_file_would_say_it(
    rooms: Rooms, api: httpx.AsyncClient
) -> None:
    answer = await api.post("/policies", json=RULE | {"tenants": ["acme"]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert {field: made[field] for field in RULE if field not in ("times", "unless")} == {
        field: value for field, value in RULE.items() if field not in ("times", "unless")
    }
    assert (made["tenant_id"], made["disabled"], made["made_by"], made["object"]) == (None, False, "admin", "policy")
    assert (await api.get(f"/policies/{made['id']}")).json() == made
    assert (await api.get("/policies")).json()["data"] == [made]
    (policy,) = await rules_of(rooms)
    assert (policy.name, policy.owner, policy.tenants) == ("office", None, ("acme",))
    assert policy.unless == Conditions(networks=("10.1.0.0/16",))
    assert policy.times is not None
    assert policy.times[0].time_zone == "Europe/Berlin"


async def test_a_tenants_own_rule_holds_for_it_alone_and_only_denies(rooms: Rooms, api: httpx.AsyncClient) -> None:
    acme, other = await make_tree(api), await make_tree(api, "umbrella")
    chief = await chief_of(api, acme["tenant"]["id"])
    made = await api.post("/policies", json=RULE, headers=chief)
    assert made.status_code == 201, made.text
    assert (made.json()["tenant_id"], made.json()["made_by"]) == (acme["tenant"]["id"], "tenant-admin")
    (policy,) = await rules_of(rooms)
    assert (policy.name, policy.owner) == ("acme/office", "acme")
    for body, param in (
        ({"effect": "allow", "name": "a"}, "effect"),
        ({"effect": "deny", "name": "a", "tenants": ["umbrella"]}, "tenants"),
    ):
        refused = await api.post("/policies", json=body, headers=chief)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    foreign = {"effect": "deny", "name": "a", "tenant_id": other["tenant"]["id"]}
    assert (await api.post("/policies", json=foreign, headers=chief)).status_code == 404
    path = f"/policies/{made.json()['id']}"
    assert (await api.patch(path, json={"effect": "allow"}, headers=chief)).status_code == 400
    assert (await api.patch(path, json={"tenants": ["umbrella"]}, headers=chief)).status_code == 400
    assert (await api.patch(path, json={"tenant_id": None}, headers=chief)).status_code == 400
    assert (await rules_of(rooms)) == (policy,)


async def test_what_an_admin_wrote_for_a_tenant_its_admin_cannot_take_away(api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    chief = await chief_of(api, tree["tenant"]["id"])
    made = (await api.post("/policies", json=RULE | {"tenant_id": tree["tenant"]["id"]})).json()
    path = f"/policies/{made['id']}"
    assert (await api.get(path, headers=chief)).json() == made
    for act in (
        api.patch(path, json={"disabled": True}, headers=chief),
        api.patch(path, json={"models": ["none"]}, headers=chief),
        api.delete(path, headers=chief),
    ):
        refused = await act
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "made_above")
    assert (await api.get(path)).json() == made
    own = (await api.post("/policies", json=RULE | {"name": "own"}, headers=chief)).json()
    assert (await api.patch(f"/policies/{own['id']}", json={"disabled": True})).status_code == 200
    assert (await api.delete(f"/policies/{own['id']}", headers=chief)).status_code == 204


async def test_rules_of_the_gateway_are_not_the_tenants_to_see(api: httpx.AsyncClient) -> None:
    tree, other = await make_tree(api), await make_tree(api, "umbrella")
    chief, stranger = [await chief_of(api, each["tenant"]["id"]) for each in (tree, other)]
    wide = (await api.post("/policies", json=RULE)).json()
    own = (await api.post("/policies", json=RULE, headers=chief)).json()
    assert own["name"] == wide["name"], "a name is taken in its own place only"
    assert (await api.get("/policies", headers=chief)).json()["data"] == [own]
    assert (await api.get("/policies", headers=stranger)).json()["data"] == []
    for path in (f"/policies/{wide['id']}", f"/policies/{'f' * 32}"):
        assert (await api.get(path, headers=chief)).status_code == 404
    listed = (await api.get(f"/policies?tenant_id={tree['tenant']['id']}")).json()["data"]
    assert listed == [own]


FIELDS: dict[str, Any] = {
    "name": "renamed",
    "disabled": True,
    "effect": "allow",
    "subjects": ["key:x"],
    "tenants": ["acme"],
    "models": ["llama"],
    "tiers": ["L0", "L1"],
    "classes": ["P1"],
    "paths": ["/v1/embeddings"],
    "networks": ["fd00::/8"],
    "times": None,
    "unless": None,
}


async def test_an_edit_touches_its_field_and_no_other(api: httpx.AsyncClient) -> None:
    made = (await api.post("/policies", json=RULE | {"tenants": ["umbrella"]})).json()
    path = f"/policies/{made['id']}"
    assert {*FIELDS} == {*made} - {"id", "object", "tenant_id", "made_by", "created_at", "updated_at"}
    for field, value in FIELDS.items():
        before = (await api.get(path)).json()
        answer = await api.patch(path, json={field: value})
        assert answer.status_code == 200, answer.text
        assert answer.json() == before | {field: value, "updated_at": answer.json()["updated_at"]}
        assert (await api.get(path)).json() == answer.json()
        (entry, *_) = await entries(api)
        assert entry["action"] == "policy.edit"
    count = len(await entries(api))
    assert (await api.patch(path, json={"name": "renamed"})).status_code == 200
    assert (await api.patch(path, json={})).status_code == 200
    assert len(await entries(api)) == count, "nothing changed, nothing is written"
    assert (await api.delete(path)).status_code == 204
    assert (await entries(api))[0]["action"] == "policy.delete"
    assert [(await api.get(path)).status_code, (await api.delete(path)).status_code] == [404, 404]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a b"}, "name"),
        ({"models": []}, "models"),
        ({"models": ["*"]}, "models[0]"),
        ({"models": ["a*b"]}, "models[0]"),
        ({"models": ["${HOME}"]}, None),
        ({"subjects": ["ann"]}, "subjects[0]"),
        ({"networks": ["10.0.0.1/8"]}, "networks[0]"),
        ({"paths": ["/etc/passwd"]}, "paths[0]"),
        ({"times": [{}]}, "times[0]"),
        ({"times": [{"start": "25:00"}]}, "times[0].start"),
        ({"times": [{"start": "09:00", "end": "09:00"}]}, "times[0].end"),
        ({"times": [{"start": "09:00", "time_zone": "../etc/passwd"}]}, "times[0].time_zone"),
        ({"unless": {}}, "unless"),
        ({"unless": {"unless": {}}}, None),
        ({"effect": "forbid"}, None),
        ({"effect": "allow", "subjects": ["user:ann"]}, "subjects[0]"),
        ({"owner": "acme"}, None),
        ({"classes": ["P3"]}, None),
    ],
)
async def test_rules_that_mean_nothing_are_refused(api: httpx.AsyncClient, body: Any, param: str | None) -> None:
    answer = await api.post("/policies", json={"name": "r", "effect": "deny"} | body)
    if body == {"models": ["${HOME}"]}:  # it is no template here, only a name
        assert answer.json()["models"] == ["${HOME}"]
        return
    assert answer.status_code == 400, answer.text
    if param is not None:
        assert answer.json()["error"]["param"] == param
    assert (await api.get("/policies")).json()["data"] == []


async def test_names_are_unique_and_there_is_an_end_to_them(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_OF_GATEWAY", 2)
    assert (await api.post("/policies", json=RULE)).status_code == 201
    again = await api.post("/policies", json=RULE)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")
    assert (await api.post("/policies", json=RULE | {"name": "two"})).status_code == 201
    full = await api.post("/policies", json=RULE | {"name": "three"})
    assert (full.status_code, full.json()["error"]["code"]) == (409, "too_many_policies")


async def test_what_is_off_or_of_a_tenant_that_is_gone_is_not_published(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    wide = (await api.post("/policies", json=RULE)).json()
    await api.post("/policies", json=RULE | {"tenant_id": tree["tenant"]["id"]})
    assert [policy.name for policy in (await rules_of(rooms))] == ["office", "acme/office"]
    await api.patch(f"/policies/{wide['id']}", json={"disabled": True})
    assert [policy.name for policy in (await rules_of(rooms))] == ["acme/office"]
    await api.patch(f"/tenants/{tree['tenant']['id']}", json={"name": "acme2"})
    assert [policy.owner for policy in (await rules_of(rooms))] == ["acme2"], "it follows its tenant"
    await api.patch(f"/tenants/{tree['tenant']['id']}", json={"disabled": True})
    assert (await rules_of(rooms)) == ()


async def test_a_damaged_rule_is_said_and_stops_no_publication(rooms: Rooms, api: httpx.AsyncClient) -> None:
    made = (await api.post("/policies", json=RULE)).json()
    await api.post("/policies", json={"name": "sound", "effect": "deny", "models": ["x"]})
    async with rooms.database.begin() as connection:
        damaged = update(POLICIES).where(POLICIES.c.id == made["id"])
        await connection.execute(damaged.values(conditions={"models": 7}))
    found = await compiled(rooms)
    assert [policy.name for policy in (await rules_of(rooms))] == ["sound"]
    (sentence,) = found.held_back
    assert made["id"] in sentence
    assert "damaged" in sentence


async def test_the_database_itself_lets_no_tenant_allow(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    await api.post("/policies", json=RULE | {"tenant_id": tree["tenant"]["id"]})

    async def act() -> None:
        async with rooms.database.begin() as connection:
            await connection.execute(text("UPDATE policies SET effect = 'allow'"))

    with pytest.raises(Exception, match=r"(?i)check"):
        await act()


def test_a_row_becomes_the_rule_that_a_file_would_have() -> None:
    row: Any = type("Row", (), {"conditions": {"models": ["x"]}, "effect": "deny"})
    assert room.policy_of(row, "n", None) == Policy(name="n", effect="deny", models=("x",))
