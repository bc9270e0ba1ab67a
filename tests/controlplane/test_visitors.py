"""Administrators with a token of an identity provider: every role by its scope, against every route; and who is not
let in."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest
import yaml

from controlplane.access.roles import Role
from controlplane.access.visitors import open_visitors
from controlplane.app import Rooms
from controlplane.client import Client, find_key
from controlplane.problem import Problem
from fastpath.settings.issuers import ROLES_IN_TENANT, AdminIssuer, AdminRole
from tests.conftest import Program
from tests.controlplane.conftest import PATIENCE, Caller, Cast, ControlProcess, cast_of, make_tree
from tests.controlplane.test_roles import EXPECTED, LETTERS, alerted_budget, fresh, paid_request, request_of
from tests.idp.server import IdentityProvider
from tests.idp.signer import SigningKey
from tests.idp.thread import ThreadedProvider

__all__ = ["alerted_budget", "paid_request"]  # fixtures: the matrix refunds a request and sends an alert again

SCOPES = {
    "platform": {"role": "admin"},
    "on-call": {"role": "operator"},
    "books": {"role": "auditor"},
    "chiefs": {"role": "tenant-admin"},
    "hands": {"role": "developer"},
    "umbrella-chiefs": {"role": "tenant-admin", "tenant": "umbrella"},
}
OF_ROLE = {
    "admin": "platform",
    "operator": "on-call",
    "auditor": "books",
    "tenant-admin": "chiefs",
    "developer": "hands",
}
AUDIENCE = "https://gateway.test/admin"


def issuer_of(idp: IdentityProvider) -> dict[str, Any]:
    return {
        "name": "corp",
        "issuer": idp.issuer,
        "audience": [AUDIENCE],
        "claims": {"tenant": "tid"},
        "tenants": ["acme", "umbrella", "gone"],
        "tenant": "acme",
        "allow_hosts": ["127.0.0.1"],
        "grants": [{"scope": scope, **grant} for scope, grant in SCOPES.items()],
    }


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    with ThreadedProvider() as running:
        yield running.idp


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, idp: IdentityProvider) -> Iterator[ControlProcess]:
    with ControlProcess(tmp_path_factory.mktemp("control"), issuers=[issuer_of(idp)]) as process:
        yield process


@pytest.fixture(scope="module")
def cast(control: ControlProcess, idp: IdentityProvider) -> Cast:
    """Everybody there is. Returns when the provider's keys are there, too."""
    made = cast_of(control.init())
    deadline = time.monotonic() + PATIENCE
    while made.admin.as_(token(idp, scope="platform")).call("GET", "/me").status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return made


@pytest.fixture
def named(cast: Cast) -> Callable[[], None]:
    """Gives tenant and user the names that tokens have, which the matrix changes."""

    def name() -> None:
        cast.admin.edit(f"/tenants/{cast.ids['tenant']}", {"name": "acme"})
        cast.admin.edit(f"/users/{cast.ids['user']}", {"name": "corp:ann"})

    name()
    return name


def token(idp: IdentityProvider, **claims: Any) -> str:
    return idp.access_token(**{"aud": AUDIENCE, "sub": "ann", **claims}).decode()


def visitor(cast: Cast, idp: IdentityProvider, **claims: Any) -> Caller:
    return cast.admin.as_(token(idp, **claims))


def test_roles_of_the_settings_are_those_of_the_admin_api() -> None:
    assert set(get_args(AdminRole)) == {role.value for role in Role}
    assert set(ROLES_IN_TENANT) == {role.value for role in Role if role.in_tenant}
    assert set(OF_ROLE) == {role.value for role in Role}


@pytest.mark.parametrize("place", EXPECTED)
def test_every_cell_of_a_route(cast: Cast, idp: IdentityProvider, named: Callable[[], None], place: str) -> None:
    for letter, role in LETTERS.items():
        method, path, body = request_of(cast, place)
        named()
        answer = visitor(cast, idp, scope=f"openid {OF_ROLE[role]}").call(method, path, body)
        if letter in EXPECTED[place]:
            assert answer.is_success, f"{role} {place}: {answer.status_code} {answer.text}"
        else:
            assert answer.status_code == 403, f"{role} {place}: {answer.status_code} {answer.text}"
            assert answer.json()["error"]["code"] == "forbidden"


def test_who_a_token_is(cast: Cast, idp: IdentityProvider, named: Callable[[], None]) -> None:
    places = {"admin": (None, None), "tenant-admin": ("tenant", None), "developer": ("tenant", "user")}
    for role, (tenant, user) in places.items():
        me = visitor(cast, idp, scope=OF_ROLE[role]).get("/me")
        assert (me["name"], me["role"]) == ("corp:ann", role)
        assert me["tenant_id"] == (cast.ids[tenant] if tenant else None)
        assert me["user_id"] == (cast.ids[user] if user else None)
        assert len(me["id"]) == 32
    assert visitor(cast, idp, scope="umbrella-chiefs").get("/me")["tenant_id"] == cast.other["tenant"]
    assert visitor(cast, idp, scope="chiefs", tid="umbrella").get("/me")["tenant_id"] == cast.other["tenant"]
    assert visitor(cast, idp, scope="chiefs platform").get("/me")["role"] == "admin", "the first entry that fits"


def test_a_tenant_is_out_of_reach_of_another_ones_admin(
    cast: Cast, idp: IdentityProvider, named: Callable[[], None]
) -> None:
    stranger = visitor(cast, idp, scope="umbrella-chiefs")
    for kind in ("tenant", "team", "user", "key"):
        assert stranger.call("GET", f"/{kind}s/{cast.ids[kind]}").status_code == 404
        assert stranger.call("PATCH", f"/{kind}s/{cast.ids[kind]}", {"name": fresh()}).status_code in (403, 404)
    wide = {"name": fresh(), "role": "admin"}
    assert visitor(cast, idp, scope="chiefs").call("POST", "/admin-keys", wide).status_code == 403


def test_the_audit_trail_names_the_subject(cast: Cast, idp: IdentityProvider) -> None:
    root = visitor(cast, idp, scope="platform", sub="root@corp.test")
    tenant = root.make("/tenants", {"name": fresh()})
    (entry,) = cast.admin.get(f"/audit?object_id={tenant['id']}")["data"]
    assert (entry["actor_name"], entry["actor_role"], entry["action"]) == (
        "corp:root@corp.test",
        "admin",
        "tenant.create",
    )
    assert entry["actor_id"] == root.get("/me")["id"]
    long = visitor(cast, idp, scope="platform", sub="x" * 256)
    made = long.make("/tenants", {"name": fresh()})
    (entry,) = cast.admin.get(f"/audit?object_id={made['id']}")["data"]
    assert len(entry["actor_name"]) == 128
    assert cast.admin.get("/audit/verify")["problem"] == ""


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "expired": ({"exp": 1_700_000_000}, 401, "token_expired"),
    "a caller's": ({"aud": "https://gateway.test"}, 401, "invalid_api_key"),
    "another issuer's": ({"iss": "https://evil.test"}, 401, "invalid_api_key"),
    "not yet": ({"nbf": time.time() + 600}, 401, "invalid_api_key"),
    "nobody's": ({"sub": None}, 401, "invalid_api_key"),
    "a foreign tenant's": ({"tid": "globex"}, 401, "invalid_api_key"),
    "no role": ({"scope": "chat openid"}, 403, "no_role"),
    "no scope": ({"scope": None}, 403, "no_role"),
    "half a scope": ({"scope": "platform-x plat"}, 403, "no_role"),
    "no such tenant": ({"scope": "chiefs", "tid": "gone"}, 403, "no_tenant"),
    "no such user": ({"scope": "hands", "sub": "bob"}, 403, "no_user"),
    "a user of another tenant": ({"scope": "hands", "tid": "umbrella"}, 403, "no_user"),
}


@pytest.mark.parametrize("why", BAD)
def test_who_is_not_let_in(cast: Cast, idp: IdentityProvider, named: Callable[[], None], why: str) -> None:
    changed, status, code = BAD[why]
    sent = token(idp, **{"scope": "platform", **changed})
    answer = cast.admin.as_(sent).call("GET", "/me")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert sent not in answer.text


def settled_answer(who: Caller) -> Any:
    """What it is told once the keys are not being fetched: meanwhile a token with an unknown one may yet be good."""
    deadline = time.monotonic() + PATIENCE
    while (answer := who.call("GET", "/me")).status_code == 503:
        assert answer.json()["error"]["code"] == "keys_unknown"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def test_a_forged_token_is_refused(cast: Cast, idp: IdentityProvider) -> None:
    claims = {"iss": idp.issuer, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 300, "scope": "platform"}
    forged = (
        SigningKey("key-1").token(claims),
        idp.key.token(claims, alg="none"),
        idp.key.token(claims, alg="HS256"),
        idp.key.token(claims, jwk=idp.key.jwk()),
        idp.key.token(claims, kid="other"),
        idp.key.token(claims)[:-2],
        b"a.b.c",
    )
    for sent in forged:
        answer = settled_answer(cast.admin.as_(sent.decode()))
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_what_is_disabled_closes_the_door(cast: Cast, idp: IdentityProvider, named: Callable[[], None]) -> None:
    for kind, refused in (("user", {"hands"}), ("team", {"hands"}), ("tenant", {"hands", "chiefs"})):
        place = f"/{kind}s/{cast.ids[kind]}"
        cast.admin.edit(place, {"disabled": True})
        answers = {scope: visitor(cast, idp, scope=scope).call("GET", "/me").status_code for scope in OF_ROLE.values()}
        cast.admin.edit(place, {"disabled": False})
        assert {scope for scope, status in answers.items() if status == 403} == refused, kind
    assert visitor(cast, idp, scope="hands").get("/me")["role"] == "developer"


def test_without_issuers_no_token_is_anybody(tmp_path: Path, idp: IdentityProvider) -> None:
    with ControlProcess(tmp_path) as process:
        admin = process.init()
        assert admin.as_(token(idp, scope="platform")).call("GET", "/me").status_code == 401


async def test_where_a_role_is_held_on_either_database(
    rooms: Rooms, api: httpx.AsyncClient, idp: IdentityProvider
) -> None:
    tree = await make_tree(api)
    user, team = tree["user"]["id"], tree["team"]["id"]
    assert (await api.patch(f"/users/{user}", json={"name": "corp:ann"})).status_code == 200
    other = (await api.post("/teams", json={"name": "other", "tenant_id": tree["tenant"]["id"]})).json()["id"]
    twin = (await api.post("/users", json={"name": "corp:ann", "team_id": other})).json()["id"]
    trusted = msgspec.convert(issuer_of(idp) | {"claims": {"tenant": "tid", "team": "team"}}, AdminIssuer)
    async with open_visitors((trusted,), rooms.database, time.time) as visitors:
        assert visitors is not None
        await visitors._issuers.begin(10)

        async def find(**claims: Any) -> tuple[str | None, str | None, str | None]:
            found = await visitors.find(f"Bearer {token(idp, **claims)}")
            return found.tenant, found.team, found.user

        tenant = tree["tenant"]["id"]
        assert await find(scope="books") == (None, None, None)
        assert await find(scope="chiefs") == (tenant, None, None)
        assert await find(scope="hands", team="acme-team") == (tenant, team, user)
        assert await find(scope="hands", team="other") == (tenant, other, twin)
        assert await find(scope="hands") == (tenant, team, user), "the older one, where the token does not say"
        await api.patch(f"/teams/{team}", json={"disabled": True})
        assert await find(scope="hands", team="acme-team") == (tenant, other, twin)
        await api.delete(f"/users/{twin}")
        for scope, code in (("hands", "no_user"), ("umbrella-chiefs", "no_tenant")):
            with pytest.raises(Problem) as caught:
                await find(scope=scope)
            assert caught.value.code == code


def test_the_command_line_takes_a_token_and_the_issuers_of_a_file(tmp_path: Path, idp: IdentityProvider) -> None:
    (tmp_path / "fastpath.yaml").write_text(yaml.safe_dump({"control": {"issuers": [issuer_of(idp)]}}))
    (tmp_path / "broken.yaml").write_text("control: {issuers: [{name: x}]}")
    command = ("-P", "-m", "fastpath.cli", "control", "--port", "0", "--state-dir", "state", "--config")
    with Program(*command, "broken.yaml", folder=tmp_path) as program:
        program.line("broken.yaml:1:21: control.issuers[0].issuer: is missing")
        assert program.process.wait(PATIENCE) == 1
    with Program(*command, "fastpath.yaml", folder=tmp_path) as program:
        url = program.line("serving on").split()[-1]
        (tmp_path / "key").write_text(token(idp, scope="platform", pad="x" * 5_000))
        (tmp_path / "key").chmod(0o600)
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            who = Caller(client, (tmp_path / "key").read_text())
            deadline = time.monotonic() + PATIENCE
            while who.call("GET", "/me").status_code == 503:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        Client(url, find_key({}, tmp_path / "key")).call("POST", "/tenants", {"name": "acme"})
        tenants = Client(url, find_key({"FASTPATH_ADMIN_KEY": token(idp, scope="books")}, None)).pages("/tenants")
        assert [tenant["name"] for tenant in tenants] == ["acme"]


def test_an_issuer_that_is_not_safe_does_not_start(tmp_path: Path, idp: IdentityProvider) -> None:
    issuer = issuer_of(idp) | {"allow_hosts": []}
    with ControlProcess(tmp_path, wait=False, issuers=[issuer]) as process:
        assert "must begin with https" in process.line("issuer corp")
        assert process.process.wait(30) == 1
