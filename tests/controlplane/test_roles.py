"""Role x route: every cell, in a real process. What is expected is written out here, so that a change is a decision."""

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
from litestar import get

from controlplane.access.roles import PUBLIC, Role, Rule
from controlplane.api.document import places
from controlplane.api.rules import UnruledRouteError, all_ruled, rule_of, under
from controlplane.app import ROUTES
from fastpath.explain.decision import name_of
from fastpath.outbox.facts import Payer
from tests.controlplane.conftest import Cast, ControlProcess
from tests.controlplane.settlement.spending import PATIENCE, spend, warn
from tests.explain.decided import keep_decisions, make_decision

LETTERS = {"A": "admin", "O": "operator", "U": "auditor", "T": "tenant-admin", "D": "developer"}

#: Who may: admin, operator, auditor (U), tenant-admin, developer.
EXPECTED = {
    "GET /healthz": "AOUTD",
    "GET /openapi.json": "AOUTD",
    "GET /admin/v1/me": "AOUTD",
    "GET /admin/v1/tenants": "AOUTD",
    "POST /admin/v1/tenants": "A",
    "GET /admin/v1/tenants/{object_id}": "AOUTD",
    "PATCH /admin/v1/tenants/{object_id}": "A",
    "DELETE /admin/v1/tenants/{object_id}": "A",
    "GET /admin/v1/teams": "AOUTD",
    "POST /admin/v1/teams": "AT",
    "GET /admin/v1/teams/{object_id}": "AOUTD",
    "PATCH /admin/v1/teams/{object_id}": "AT",
    "DELETE /admin/v1/teams/{object_id}": "AT",
    "GET /admin/v1/users": "AOUTD",
    "POST /admin/v1/users": "AT",
    "GET /admin/v1/users/{object_id}": "AOUTD",
    "PATCH /admin/v1/users/{object_id}": "AT",
    "DELETE /admin/v1/users/{object_id}": "AT",
    "GET /admin/v1/keys": "AOUTD",
    "POST /admin/v1/keys": "ATD",
    "GET /admin/v1/keys/{object_id}": "AOUTD",
    "PATCH /admin/v1/keys/{object_id}": "ATD",
    "DELETE /admin/v1/keys/{object_id}": "AOTD",
    "POST /admin/v1/keys/{object_id}/rotate": "ATD",
    "GET /admin/v1/admin-keys": "AUT",
    "POST /admin/v1/admin-keys": "AT",
    "GET /admin/v1/admin-keys/{object_id}": "AUT",
    "PATCH /admin/v1/admin-keys/{object_id}": "AT",
    "DELETE /admin/v1/admin-keys/{object_id}": "AT",
    "GET /admin/v1/policies": "AOUT",
    "POST /admin/v1/policies": "AT",
    "GET /admin/v1/policies/{object_id}": "AOUT",
    "PATCH /admin/v1/policies/{object_id}": "AT",
    "DELETE /admin/v1/policies/{object_id}": "AT",
    "GET /admin/v1/models": "AOU",
    "POST /admin/v1/models": "AO",
    "GET /admin/v1/models/{object_id}": "AOU",
    "PATCH /admin/v1/models/{object_id}": "AO",
    "DELETE /admin/v1/models/{object_id}": "AO",
    "GET /admin/v1/endpoints": "AOU",
    "POST /admin/v1/endpoints": "AO",
    "GET /admin/v1/endpoints/{object_id}": "AOU",
    "PATCH /admin/v1/endpoints/{object_id}": "AO",
    "DELETE /admin/v1/endpoints/{object_id}": "AO",
    "GET /admin/v1/provider-keys": "AOU",
    "POST /admin/v1/provider-keys": "AO",
    "GET /admin/v1/provider-keys/{object_id}": "AOU",
    "PATCH /admin/v1/provider-keys/{object_id}": "AO",
    "DELETE /admin/v1/provider-keys/{object_id}": "AO",
    "POST /admin/v1/master-key/rotate": "AO",
    "GET /admin/v1/usage": "AOUTD",
    "GET /admin/v1/invoices/{object_id}": "AUT",
    "POST /admin/v1/ledger/refunds": "A",
    "GET /admin/v1/settlement": "AOU",
    "GET /admin/v1/alerts": "AOUT",
    "GET /admin/v1/alerts/{object_id}": "AOUT",
    "POST /admin/v1/alerts/{object_id}/resend": "AOT",
    "GET /admin/v1/alert-destinations": "AOUT",
    "POST /admin/v1/alert-destinations": "AT",
    "GET /admin/v1/alert-destinations/{object_id}": "AOUT",
    "PATCH /admin/v1/alert-destinations/{object_id}": "AT",
    "DELETE /admin/v1/alert-destinations/{object_id}": "AT",
    "GET /admin/v1/decisions/{object_id}": "AOUT",
    "GET /admin/v1/audit": "AU",
    "GET /admin/v1/audit/verify": "AU",
}

_number = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def alerted_budget(control: ControlProcess, cast: Cast) -> None:
    """An alert of each tenant, and a destination of the callers'."""
    for ids in (cast.ids, cast.other):
        warn(control.state, ids["tenant"])
        body = {"name": fresh(), "tenant_id": ids["tenant"], "url": "https://alerts.invalid/"}
        ids["destination"] = cast.admin.make("/alert-destinations", body)["destination"]["id"]
    deadline = time.monotonic() + PATIENCE
    while len(found := cast.admin.get("/alerts")["data"]) < 2:
        assert time.monotonic() < deadline, "they were not registered"
        time.sleep(0.02)
    for one in found:
        (cast.ids if one["tenant"] == cast.ids["tenant"] else cast.other)["alert"] = one["id"]


@pytest.fixture(scope="module", autouse=True)
def paid_request(control: ControlProcess, cast: Cast) -> None:
    """A request that was charged, to be refunded."""
    (cast.ids["request"],) = spend(control.state, Payer(cast.ids["tenant"]))
    own, other = (
        make_decision(secrets.token_bytes(16), time.time(), payer=Payer(ids["tenant"]))
        for ids in (cast.ids, cast.other)
    )
    keep_decisions(control.state, (own, other))
    cast.ids["decision"], cast.other["decision"] = name_of(own.request), name_of(other.request)
    deadline = time.monotonic() + PATIENCE
    while not cast.admin.get("/usage")["data"]:
        assert time.monotonic() < deadline, "it was not settled"
        time.sleep(0.02)


def fresh() -> str:
    return f"made-{next(_number)}"


def in_tenant(cast: Cast, kind: str) -> str:
    """A new object of the callers' tenant, which nothing hangs below."""
    if kind == "tenants":
        return str(cast.admin.make("/tenants", {"name": fresh()})["id"])
    if kind == "admin-keys":
        body = {"name": fresh(), "role": "tenant-admin", "tenant_id": cast.ids["tenant"]}
        return str(cast.admin.make("/admin-keys", body)["admin_key"]["id"])
    if kind == "policies":
        return str(cast.callers["tenant-admin"].make("/policies", {"name": fresh(), "effect": "deny"})["id"])
    if kind == "alert-destinations":
        body = {"name": fresh(), "tenant_id": cast.ids["tenant"], "url": "https://alerts.invalid/"}
        return str(cast.admin.make("/alert-destinations", body)["destination"]["id"])
    if kind == "provider-keys":
        return str(cast.admin.make("/provider-keys", {"name": fresh(), "value": "sk-x"})["id"])
    if kind == "endpoints":
        return str(cast.admin.make("/endpoints", {"name": fresh(), **spot(cast)})["id"])
    made = cast.admin.make(f"/{kind}", {"name": fresh(), **owner_of(cast, kind)})
    return str(made.get("key", made)["id"])


def spot(cast: Cast) -> dict[str, str]:
    """A model of the registry, and a URL that nobody else has."""
    return {"model_id": cast.ids["model"], "url": f"http://{fresh()}.invalid/v1"}


def owner_of(cast: Cast, kind: str) -> dict[str, str]:
    above = {"teams": "tenant", "users": "team", "keys": "user"}.get(kind)
    return {} if above is None else {f"{above}_id": cast.ids[above]}


def known(cast: Cast, kind: str) -> str:
    """What is there from the start and every role of the tenant sees."""
    names = {"admin-keys": "developer key", "provider-keys": "provider", "invoices": "tenant", "policies": "policy"}
    names |= {"alert-destinations": "destination"}
    return cast.ids[names.get(kind, kind.removesuffix("s"))]


def request_of(cast: Cast, place: str) -> tuple[str, str, Any]:
    """Method, path and body of a request that is sound but for who sends it."""
    method, path = place.split()
    parts = path.removeprefix("/admin/v1/").split("/")
    kind = parts[0]
    if method == "GET":
        return method, path.replace("{object_id}", known(cast, kind) if "{" in path else ""), None
    if path.endswith("/resend"):
        return method, path.replace("{object_id}", cast.ids["alert"]), {}
    if path.endswith("/rotate"):
        return method, path.replace("{object_id}", cast.ids["key"]), {} if "{" in path else None
    if kind == "ledger":
        return method, path, {"request": cast.ids["request"], "amount": "0.000000001", "reason": "x", "token": fresh()}
    if method == "POST":
        extra: dict[str, Any] = {
            "admin-keys": {"role": "developer", "user_id": cast.ids["user"]},
            "policies": {"effect": "deny", "models": ["large"]},
            "provider-keys": {"value": "sk-x"},
            "endpoints": spot(cast) if kind == "endpoints" else {},
            "alert-destinations": {"tenant_id": cast.ids["tenant"], "url": "https://alerts.invalid/"},
        }.get(kind, owner_of(cast, kind))
        return method, path, {"name": fresh(), **extra}
    if method == "DELETE" and kind == "keys":
        return method, path.replace("{object_id}", in_tenant(cast, kind)), None
    if method == "DELETE":
        return method, path.replace("{object_id}", in_tenant(cast, kind)), None
    return method, path.replace("{object_id}", known(cast, kind)), {"name": fresh()}


def test_every_route_stands_in_the_matrix_and_no_other() -> None:
    found = {f"{method} {path}" for handler in ROUTES for path, method in places(handler)}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("place", EXPECTED)
def test_every_cell_of_a_route(cast: Cast, place: str) -> None:
    for letter, role in LETTERS.items():
        method, path, body = request_of(cast, place)
        answer = cast.callers[role].call(method, path, body)
        if letter in EXPECTED[place]:
            assert answer.is_success, f"{role} {place}: {answer.status_code} {answer.text}"
        else:
            assert answer.status_code == 403, f"{role} {place}: {answer.status_code} {answer.text}"
            assert answer.json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize("place", [place for place in EXPECTED if place != "GET /healthz"])
def test_nobody_passes_without_a_key(cast: Cast, place: str) -> None:
    method, path, body = request_of(cast, place)
    unknown = "fp-00000000-" + "0" * 64
    for sent in ("Bearer", f"Bearer {unknown}", f"Bearer {cast.ids['token']}", "Bearer " + "x" * 600, "Basic Og=="):
        answer = cast.admin.call(method, path, body, authorization=sent)
        assert answer.status_code == 401, f"{place}: {answer.text}"
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_route_without_a_rule_cannot_be_imported() -> None:
    @get("/forgotten")
    async def forgotten() -> None: ...

    @get("/nobody", opt=under(Rule()))
    async def nobody() -> None: ...

    for handler in (forgotten, nobody):
        with pytest.raises(UnruledRouteError, match="has no rule"):
            all_ruled([handler])


def test_only_health_is_public() -> None:
    public = [path for handler in ROUTES for path, _ in places(handler) if rule_of(handler) == PUBLIC]
    assert public == ["/healthz"]


def test_ranks_put_every_role_above_another_or_below() -> None:
    assert len({role.rank for role in Role}) == len(Role)


Probe = Callable[[Cast, str, str], tuple[str, str, Any]]
OTHERS = ("tenant", "team", "user", "key", "developer key", "policy", "destination")
KIND_OF = {
    "tenant": "tenants",
    "team": "teams",
    "user": "users",
    "key": "keys",
    "developer key": "admin-keys",
    "policy": "policies",
    "destination": "alert-destinations",
}
ACTS: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "tenant": (("GET", "", None),),
    "team": (("GET", "", None), ("PATCH", "", {"disabled": True}), ("DELETE", "", None)),
    "user": (("GET", "", None), ("PATCH", "", {"disabled": True}), ("DELETE", "", None)),
    "key": (
        ("GET", "", None),
        ("PATCH", "", {"disabled": True}),
        ("DELETE", "", None),
        ("POST", "/rotate", {}),
    ),
    "developer key": (("GET", "", None), ("PATCH", "", {"disabled": True}), ("DELETE", "", None)),
    "policy": (("GET", "", None), ("PATCH", "", {"disabled": True}), ("DELETE", "", None)),
    "destination": (("GET", "", None), ("PATCH", "", {"disabled": True}), ("DELETE", "", None)),
}


def test_what_is_another_tenants_is_as_missing_as_what_never_was(cast: Cast) -> None:
    probes = 0
    for role in ("tenant-admin", "developer"):
        caller = cast.callers[role]
        for what in OTHERS:
            gone = in_tenant(cast, KIND_OF[what])
            assert cast.admin.call("DELETE", f"/{KIND_OF[what]}/{gone}").status_code == 204
            for method, suffix, body in ACTS[what]:
                place = f"{method} /admin/v1/{KIND_OF[what]}/{{object_id}}{suffix}"
                if LETTERS_OF[role] not in EXPECTED[place]:
                    continue
                foreign, *missing = [
                    caller.call(method, f"/{KIND_OF[what]}/{text}{suffix}", body)
                    for text in (cast.other[what], gone, "f" * 32, "not-an-id", "%00", "F" * 32)
                ]
                probes += 1 + len(missing)
                assert foreign.status_code == 404, f"{role} {place}: {foreign.text}"
                for answer in missing:
                    assert (answer.status_code, answer.content) == (404, foreign.content), f"{role} {place}"
                    assert {*answer.headers} == {*foreign.headers}
    assert probes >= 60
    for what in OTHERS:
        assert cast.admin.call("GET", f"/{KIND_OF[what]}/{cast.other[what]}").json()["disabled"] is False


def test_who_belongs_to_a_tenant_is_not_shown_its_markup_and_only_an_admin_says_it(cast: Cast) -> None:
    path = f"/tenants/{cast.ids['tenant']}"
    assert cast.admin.edit(path, {"markup_ppm": 200_000})["markup_ppm"] == 200_000
    for role, caller in cast.callers.items():
        (listed,) = [one for one in caller.get("/tenants")["data"] if one["id"] == cast.ids["tenant"]]
        shown = 200_000 if role in ("admin", "operator", "auditor") else None
        assert (listed.get("markup_ppm"), caller.get(path).get("markup_ppm")) == (shown, shown), role
        if role != "admin":
            assert caller.call("PATCH", path, {"markup_ppm": 0}).status_code == 403, role
    assert cast.admin.get(path)["markup_ppm"] == 200_000


def test_an_alert_of_another_tenant_is_none(cast: Cast) -> None:
    chief = cast.callers["tenant-admin"]
    assert {one["id"] for one in chief.get("/alerts")["data"]} == {cast.ids["alert"]}
    assert {one["tenant_id"] for one in chief.get("/alert-destinations")["data"]} == {cast.ids["tenant"]}
    for method, suffix in (("GET", ""), ("POST", "/resend")):
        foreign, missing = (
            chief.call(method, f"/alerts/{which}{suffix}", None) for which in (cast.other["alert"], "f" * 32)
        )
        assert (foreign.status_code, foreign.content) == (404, missing.content)
    everywhere = chief.call("POST", "/alert-destinations", {"name": fresh(), "url": "https://alerts.invalid/"})
    assert everywhere.status_code == 403


def test_a_decision_is_its_tenants_alone(cast: Cast) -> None:
    chief = cast.callers["tenant-admin"]
    assert chief.get(f"/decisions/{cast.ids['decision']}")["endpoint"] == "endpoint-1", "its name is not theirs to know"
    assert cast.callers["auditor"].get(f"/decisions/{cast.other['decision']}")["endpoint"] == "rack-1"
    foreign, *missing = [
        chief.call("GET", f"/decisions/{which}")
        for which in (cast.other["decision"], f"req_{'f' * 32}", "f" * 32, "req_x", "%00", cast.ids["decision"].upper())
    ]
    assert foreign.status_code == 404
    assert {answer.content for answer in missing} == {foreign.content}


def test_nothing_is_made_below_another_tenants_objects(cast: Cast) -> None:
    for role, path, body in (
        ("tenant-admin", "/teams", {"tenant_id": cast.other["tenant"]}),
        ("tenant-admin", "/users", {"team_id": cast.other["team"]}),
        ("tenant-admin", "/keys", {"user_id": cast.other["user"]}),
        ("developer", "/keys", {"user_id": cast.other["user"]}),
        ("tenant-admin", "/admin-keys", {"role": "tenant-admin", "tenant_id": cast.other["tenant"]}),
        ("tenant-admin", "/admin-keys", {"role": "developer", "user_id": cast.other["user"]}),
        ("tenant-admin", "/policies", {"effect": "deny", "tenant_id": cast.other["tenant"]}),
        ("tenant-admin", "/alert-destinations", {"url": "https://alerts.invalid/", "tenant_id": cast.other["tenant"]}),
    ):
        foreign = cast.callers[role].call("POST", path, {"name": fresh(), **body})
        place = next(name for name in ("user_id", "team_id", "tenant_id") if name in body)
        nowhere = cast.callers[role].call("POST", path, {"name": fresh(), **body, place: "f" * 32})
        assert foreign.status_code == 404, f"{role} {path} {foreign.text}"
        assert foreign.content == nowhere.content


def test_lists_hold_what_is_in_reach_and_nothing_else(cast: Cast) -> None:
    for role in ("tenant-admin", "developer"):
        caller = cast.callers[role]
        for kind in ("tenants", "teams", "users", "keys"):
            text = caller.call("GET", f"/{kind}?limit=1000").text
            assert cast.ids[kind.removesuffix("s")] in text
            for foreign in cast.other.values():
                assert foreign not in text, f"{role} {kind}"
        for query in ("teams?tenant_id=", "users?tenant_id=", "keys?tenant_id="):
            assert caller.get(f"/{query}{cast.other['tenant']}")["data"] == []
    mine = cast.callers["tenant-admin"].get("/admin-keys")["data"]
    assert mine
    assert {key["tenant_id"] for key in mine} == {cast.ids["tenant"]}


def test_a_developer_sees_only_its_own_user(cast: Cast) -> None:
    body = {"name": fresh(), "team_id": cast.ids["team"]}
    colleague = cast.admin.make("/users", body)
    key = cast.admin.make("/keys", {"name": "theirs", "user_id": colleague["id"]})["key"]
    caller = cast.callers["developer"]
    assert [user["id"] for user in caller.get("/users")["data"]] == [cast.ids["user"]]
    for method, path in (("GET", f"/users/{colleague['id']}"), ("DELETE", f"/keys/{key['id']}")):
        assert caller.call(method, path).status_code == 404
    assert caller.call("POST", "/keys", {"name": "x", "user_id": colleague["id"]}).status_code == 404


LETTERS_OF = {role: letter for letter, role in LETTERS.items()}
