"""Another tenant's things, asked for by name: whatever it is, and whoever asks, the answer is 403 or 404.

Those who ask are the strangers of the cast (the tenant `umbrella`), and all they name belongs to `acme`. That they are
answered for things of their own is `test_roles`'.
"""

import time
from typing import Any

import pytest

from fastpath.outbox.facts import Payer
from tests.controlplane.conftest import Caller, Cast, ControlProcess
from tests.controlplane.settlement.spending import PATIENCE, spend

CHIEF, DEVELOPER = "tenant-admin", "developer"
NAMED = {"name": "renamed"}

#: Who asks, how, for what; `{team}` is the id of acme's team, and so on. The body's values are filled in likewise.
PROBES: tuple[tuple[str, str, str, dict[str, Any] | None], ...] = (
    (CHIEF, "GET", "/tenants/{tenant}", None),
    (CHIEF, "PATCH", "/tenants/{tenant}", NAMED),
    (CHIEF, "DELETE", "/tenants/{tenant}", None),
    (CHIEF, "GET", "/teams/{team}", None),
    (CHIEF, "PATCH", "/teams/{team}", NAMED),
    (CHIEF, "DELETE", "/teams/{team}", None),
    (CHIEF, "POST", "/teams", {"name": "mine", "tenant_id": "{tenant}"}),
    (CHIEF, "GET", "/users/{user}", None),
    (CHIEF, "PATCH", "/users/{user}", NAMED),
    (CHIEF, "DELETE", "/users/{user}", None),
    (CHIEF, "POST", "/users", {"name": "mine", "team_id": "{team}"}),
    (CHIEF, "GET", "/keys/{key}", None),
    (CHIEF, "PATCH", "/keys/{key}", {"models": None}),
    (CHIEF, "DELETE", "/keys/{key}", None),
    (CHIEF, "POST", "/keys/{key}/rotate", {}),
    (CHIEF, "POST", "/keys", {"name": "mine", "user_id": "{user}"}),
    (CHIEF, "GET", "/admin-keys/{tenant-admin key}", None),
    (CHIEF, "PATCH", "/admin-keys/{tenant-admin key}", NAMED),
    (CHIEF, "DELETE", "/admin-keys/{tenant-admin key}", None),
    (CHIEF, "POST", "/admin-keys", {"name": "mine", "role": CHIEF, "tenant_id": "{tenant}"}),
    (CHIEF, "POST", "/admin-keys", {"name": "mine", "role": "admin"}),
    (CHIEF, "GET", "/invoices/{tenant}", None),
    (CHIEF, "POST", "/ledger/refunds", {"request": "{request}", "reason": "x", "token": "t"}),
    (CHIEF, "GET", "/provider-keys", None),
    (CHIEF, "GET", "/provider-keys/{provider}", None),
    (CHIEF, "POST", "/master-key/rotate", None),
    (CHIEF, "GET", "/settlement", None),
    (CHIEF, "GET", "/audit", None),
    (CHIEF, "GET", "/audit/verify", None),
    (DEVELOPER, "GET", "/tenants/{tenant}", None),
    (DEVELOPER, "GET", "/teams/{team}", None),
    (DEVELOPER, "GET", "/users/{user}", None),
    (DEVELOPER, "GET", "/keys/{key}", None),
    (DEVELOPER, "PATCH", "/keys/{key}", {"models": None}),
    (DEVELOPER, "DELETE", "/keys/{key}", None),
    (DEVELOPER, "POST", "/keys/{key}/rotate", {}),
    (DEVELOPER, "POST", "/keys", {"name": "mine", "user_id": "{user}"}),
    (DEVELOPER, "GET", "/invoices/{tenant}", None),
    (DEVELOPER, "GET", "/admin-keys/{developer key}", None),
    (DEVELOPER, "GET", "/provider-keys/{provider}", None),
    (DEVELOPER, "GET", "/audit", None),
)
#: What a list can be asked to be about: it is answered, and is empty.
LISTS = (
    *("/usage?tenant_id={tenant}", "/usage?team_id={team}", "/usage?user_id={user}", "/usage?key_id={key}&by=key"),
    *("/teams?tenant_id={tenant}", "/users?team_id={team}", "/keys?user_id={user}"),
)


@pytest.fixture(scope="module", autouse=True)
def paid_request(control: ControlProcess, cast: Cast) -> None:
    """A request that acme was charged for."""
    who = Payer(cast.ids["tenant"], cast.ids["team"], cast.ids["user"], cast.ids["key"])
    (cast.ids["request"],) = spend(control.state, who)
    deadline = time.monotonic() + PATIENCE
    while not cast.admin.get("/usage")["data"]:
        assert time.monotonic() < deadline, "it was not settled"
        time.sleep(0.02)


def fill(text: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        text = text.replace("{" + name + "}", value)
    assert "{" not in text, text
    return text


def everything(admin: Caller) -> list[Any]:
    """All that a probe could change or take."""
    kinds = ("tenants", "teams", "users", "keys", "admin-keys", "provider-keys", "usage")
    return [admin.get(f"/{kind}")["data"] for kind in kinds]


@pytest.mark.parametrize(("role", "method", "path", "body"), PROBES)
def test_a_probe_finds_nothing(cast: Cast, role: str, method: str, path: str, body: dict[str, Any] | None) -> None:
    before = everything(cast.admin)
    sent = None if body is None else {k: fill(v, cast.ids) if isinstance(v, str) else v for k, v in body.items()}
    answer = cast.strangers[role].call(method, fill(path, cast.ids), sent)
    assert answer.status_code in (403, 404), answer.text
    shown = [name for name in ("tenant", "team", "user", "key") if cast.ids[name] in answer.text and name not in path]
    assert not shown
    assert "acme" not in answer.text
    assert everything(cast.admin) == before


@pytest.mark.parametrize("role", [CHIEF, DEVELOPER])
@pytest.mark.parametrize("path", LISTS)
def test_a_list_about_others_is_empty(cast: Cast, role: str, path: str) -> None:
    assert cast.admin.get(fill(path, cast.ids))["data"], "there is something to see"
    answer = cast.strangers[role].call("GET", fill(path, cast.ids))
    assert answer.status_code in (200, 403, 404)
    assert answer.status_code != 200 or answer.json()["data"] == []


@pytest.mark.parametrize("role", [CHIEF, DEVELOPER])
def test_unasked_lists_name_nobody_else(cast: Cast, role: str) -> None:
    theirs = [cast.ids[name] for name in ("tenant", "team", "user", "key", "tenant-admin key", "developer key")]
    for path in ("/tenants", "/teams", "/users", "/keys", "/admin-keys", "/usage", "/me"):
        answer = cast.strangers[role].call("GET", path)
        assert answer.status_code in (200, 403)
        assert [one for one in theirs if one in answer.text] == [], path


def test_nothing_of_ones_own_moves_to_others(cast: Cast) -> None:
    chief = cast.strangers[CHIEF]
    for path, body in (
        ("/users/{user}", {"team_id": cast.ids["team"]}),
        ("/teams/{team}", {"tenant_id": cast.ids["tenant"]}),
        ("/keys/{key}", {"user_id": cast.ids["user"]}),
    ):
        answer = chief.call("PATCH", fill(path, cast.other), body)
        assert answer.status_code in (400, 403, 404, 422), answer.text
