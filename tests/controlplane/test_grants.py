"""Grants never exceed the grantor: roles x fields x {equal, narrower, wider, everything, inherited}."""

import itertools
import time
from typing import Any

import pytest

from tests.controlplane.conftest import LIVING, Caller, Cast

_number = itertools.count()

#: The tenant's own scope, as `cast_of` made it.
EQUAL: dict[str, Any] = {
    "models": ["small", "large"],
    "paths": ["/v1/chat/completions", "/v1/embeddings"],
    "networks": ["10.0.0.0/8"],
    "data_class": "P1",
}
NARROWER = {"models": ["small"], "paths": ["/v1/embeddings"], "networks": ["10.1.0.0/16"], "data_class": "P2"}
WIDER: dict[str, tuple[Any, ...]] = {
    "models": (["small", "huge"], ["huge"], ["SMALL"]),
    "paths": (["/v1/images/generations"], ["/v1/chat/completions", "/v1/models"]),
    "networks": (["10.0.0.0/7"], ["11.0.0.0/8"], ["10.1.0.0/16", "::1/128"], ["::ffff:10.0.0.0/104"]),
    "data_class": ("P0",),
}
EVERYTHING = {"models": ["*"], "paths": ["*"], "networks": ["0.0.0.0/0"]}
MAKERS = {
    "keys": ("admin", "tenant-admin", "developer"),
    "teams": ("admin", "tenant-admin"),
    "users": ("admin", "tenant-admin"),
}
OWNERS = {"keys": "user", "teams": "tenant", "users": "team"}


def make(cast: Cast, role: str, kind: str, **fields: Any) -> Any:
    body = {"name": f"g{next(_number)}", f"{OWNERS[kind]}_id": cast.ids[OWNERS[kind]], **fields}
    return cast.callers[role].call("POST", f"/{kind}", body)


def edit(cast: Cast, role: str, kind: str, **fields: Any) -> Any:
    return cast.callers[role].call("PATCH", f"/{kind}/{cast.ids[kind.removesuffix('s')]}", fields)


CELLS = [
    (kind, role, field, act)
    for kind, roles in MAKERS.items()
    for role in roles
    for field in EQUAL
    for act in (make, edit)
]


@pytest.mark.parametrize(("kind", "role", "field", "act"), CELLS, ids=lambda part: getattr(part, "__name__", str(part)))
def test_grant_matrix(cast: Cast, kind: str, role: str, field: str, act: Any) -> None:
    for good in (EQUAL[field], NARROWER[field], None):
        answer = act(cast, role, kind, **{field: good})
        assert answer.is_success, f"{good}: {answer.text}"
    for bad in (*WIDER[field], *([EVERYTHING[field]] if field in EVERYTHING else [])):
        answer = act(cast, role, kind, **{field: bad})
        assert answer.status_code == 403, f"{bad}: {answer.text}"
        assert answer.json()["error"] | {"message": ""} == {
            "message": "",
            "type": "permission_error",
            "param": field,
            "code": "grant_too_wide",
        }


@pytest.mark.parametrize("field", EVERYTHING)
def test_only_an_admin_grants_everything_even_where_nothing_limits(cast: Cast, field: str) -> None:
    tenant = cast.admin.make("/tenants", {"name": f"free{next(_number)}"})
    body = {"name": "chief", "role": "tenant-admin", "tenant_id": tenant["id"]}
    chief = cast.admin.as_(cast.admin.make("/admin-keys", body)["token"])
    wanted = {"name": "team", "tenant_id": tenant["id"], field: EVERYTHING[field]}
    assert chief.call("POST", "/teams", wanted).status_code == 403
    assert chief.call("POST", "/teams", wanted | {field: None}).status_code == 201
    assert cast.admin.call("POST", "/teams", wanted | {"name": "other"}).status_code == 201


def test_a_limit_above_holds_for_what_hangs_far_below(cast: Cast) -> None:
    team = make(cast, "admin", "teams", models=["small"]).json()
    user = cast.admin.make("/users", {"name": "u", "team_id": team["id"]})
    body = {"name": "k", "user_id": user["id"], "models": ["large"]}
    assert cast.admin.call("POST", "/keys", body).status_code == 403
    assert cast.admin.call("POST", "/keys", body | {"models": ["small"]}).status_code == 201


def expiring(cast: Cast, role: str, expires_at: int) -> Caller:
    place = {"tenant-admin": {"tenant_id": cast.ids["tenant"]}, "developer": {"user_id": cast.ids["user"]}}.get(
        role, {}
    )
    body = {"name": f"e{next(_number)}", "role": role, "expires_at": expires_at, **place}
    return cast.admin.as_(cast.admin.make("/admin-keys", body)["token"])


@pytest.mark.parametrize("role", ["admin", "tenant-admin", "developer"])
def test_nothing_outlives_the_key_that_granted_it(cast: Cast, role: str) -> None:
    caller = expiring(cast, role, LIVING)
    body = {"name": f"k{next(_number)}", "user_id": cast.ids["user"]}
    for wider in ({}, {"expires_at": None}, {"expires_at": LIVING + 1}):
        assert caller.call("POST", "/keys", body | wider).json()["error"]["param"] == "expires_at"
    key = caller.make("/keys", body | {"expires_at": LIVING})["key"]
    for wider in ({"expires_at": None}, {"expires_at": LIVING + 1}):
        assert caller.call("PATCH", f"/keys/{key['id']}", wider).status_code == 403
    assert caller.edit(f"/keys/{key['id']}", {"expires_at": LIVING - 1})["expires_at"] == LIVING - 1


@pytest.mark.parametrize("granted", ["admin", "operator", "auditor", "tenant-admin", "developer"])
def test_roles_that_may_be_granted(cast: Cast, granted: str) -> None:
    place = {"tenant-admin": {"tenant_id": cast.ids["tenant"]}, "developer": {"user_id": cast.ids["user"]}}
    body = {"name": f"r{next(_number)}", "role": granted, **place.get(granted, {})}
    answer = cast.callers["tenant-admin"].call("POST", "/admin-keys", body)
    if granted in place:
        assert answer.status_code == 201
    else:
        assert (answer.status_code, answer.json()["error"]["param"]) == (403, "role")
    assert cast.admin.call("POST", "/admin-keys", body | {"name": f"r{next(_number)}"}).status_code == 201


@pytest.mark.parametrize(
    ("role", "body", "param"),
    [
        ("developer", {}, "user_id"),
        ("tenant-admin", {}, "tenant_id"),
        ("admin", {"tenant_id": "tenant"}, "tenant_id"),
        ("admin", {"user_id": "user"}, "user_id"),
        ("tenant-admin", {"user_id": "user"}, "user_id"),
        ("developer", {"user_id": "user", "tenant_id": "other"}, "tenant_id"),
    ],
)
def test_a_role_has_its_place(cast: Cast, role: str, body: dict[str, str], param: str) -> None:
    known = cast.ids | {"other": cast.other["tenant"]}
    places = {name: known[what] for name, what in body.items()}
    answer = cast.admin.call("POST", "/admin-keys", {"name": f"p{next(_number)}", "role": role, **places})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_what_a_higher_role_disabled_stays_disabled(cast: Cast) -> None:
    path = f"/keys/{make(cast, 'developer', 'keys').json()['key']['id']}"
    cast.callers["tenant-admin"].edit(path, {"disabled": True})
    refused = cast.callers["developer"].call("PATCH", path, {"disabled": False})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "disabled_above")
    assert cast.admin.get(path)["disabled"] is True
    cast.admin.edit(path, {"disabled": False})
    cast.callers["developer"].edit(path, {"disabled": True})
    assert cast.callers["developer"].edit(path, {"disabled": False})["disabled"] is False


def test_the_last_admin_stays(cast: Cast) -> None:
    first = cast.admin.get("/me")["id"]
    others = [key["id"] for key in cast.admin.get("/admin-keys?limit=1000")["data"] if key["role"] == "admin"]
    for other in set(others) - {first}:
        assert cast.admin.call("DELETE", f"/admin-keys/{other}").status_code == 204
    for method, body in (("DELETE", None), ("PATCH", {"disabled": True}), ("PATCH", {"expires_at": LIVING})):
        answer = cast.admin.call(method, f"/admin-keys/{first}", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "last_admin")


def test_an_admin_key_ends_with_its_tenant_its_user_and_its_time(cast: Cast) -> None:
    tenant = cast.admin.make("/tenants", {"name": f"t{next(_number)}"})
    team = cast.admin.make("/teams", {"name": "t", "tenant_id": tenant["id"]})
    user = cast.admin.make("/users", {"name": "u", "team_id": team["id"]})
    chief = {"name": "chief", "role": "tenant-admin", "tenant_id": tenant["id"]}
    issued = [
        cast.admin.make("/admin-keys", chief),
        cast.admin.make("/admin-keys", chief | {"name": "d", "role": "developer", "user_id": user["id"]}),
    ]
    both = [cast.admin.as_(each["token"]) for each in issued]

    def statuses() -> list[int]:
        return [caller.call("GET", "/me").status_code for caller in both]

    assert statuses() == [200, 200]
    for path, expected in (
        (f"/users/{user['id']}", [200, 401]),
        (f"/teams/{team['id']}", [200, 401]),
        (f"/tenants/{tenant['id']}", [401, 401]),
    ):
        cast.admin.edit(path, {"disabled": True})
        assert statuses() == expected
        cast.admin.edit(path, {"disabled": False})
        assert statuses() == [200, 200]
    cast.admin.edit(f"/admin-keys/{issued[0]['admin_key']['id']}", {"disabled": True})
    cast.admin.call("DELETE", f"/admin-keys/{issued[1]['admin_key']['id']}")
    assert statuses() == [401, 401]
    soon = expiring(cast, "auditor", int(time.time()) + 2)
    deadline = time.monotonic() + 20
    while soon.call("GET", "/me").status_code == 200:
        assert time.monotonic() < deadline
