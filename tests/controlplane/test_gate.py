"""What browsers and strangers can do to the admin port, and what every answer looks like. A real process."""

import http.client
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
from sqlalchemy import select

from controlplane.api.document import places
from controlplane.api.gate import SECURITY_HEADERS
from controlplane.app import ROUTES, Rooms
from controlplane.tables import METADATA
from fastpath.explain.decision import name_of
from tests.controlplane.conftest import Cast, ControlProcess, make_tree
from tests.controlplane.test_roles import EXPECTED, LETTERS, alerted_budget
from tests.explain.decided import keep_decisions, make_decision

__all__ = ["alerted_budget"]  # a fixture: there is an alert to be read

ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "minLength": 10},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string", "pattern": "^[a-z_]+$"},
            },
        }
    },
}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8341", 403),
        ("", 403),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
    ],
)
def test_a_name_that_was_rebound_is_refused(cast: Cast, host: str, status: int) -> None:
    answer = cast.admin.call("GET", "/me", host=host)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["code"] == "host_not_allowed"


def test_two_hosts_are_refused(control: ControlProcess) -> None:
    parts = urlsplit(control.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("GET", "/healthz", skip_host=True)
    connection.putheader("Host", "127.0.0.1")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(cast: Cast, headers: dict[str, str]) -> None:
    for method, path, body in (("GET", "/me", None), ("POST", "/tenants", {"name": "forged"})):
        answer = cast.admin.call(method, path, body, **headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")


def test_a_page_of_its_own_is_let_in(cast: Cast, control: ControlProcess) -> None:
    assert cast.admin.call("GET", "/me", origin=control.url, sec_fetch_site="same-origin").status_code == 200


def test_what_a_form_can_send_is_refused(cast: Cast) -> None:
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        answer = cast.admin.call("POST", "/tenants", {"name": "forged"}, content_type=kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def bad_requests(cast: Cast) -> list[httpx.Response]:
    """One of each kind of refusal."""
    admin, key = cast.admin, cast.ids["key"]
    client = admin.client
    sent = {"authorization": f"Bearer {admin.token}", "content-type": "application/json"}
    return [
        client.get("/admin/v1/me"),
        cast.callers["developer"].call("GET", "/audit"),
        admin.call("GET", f"/keys/{'0' * 32}"),
        admin.call("GET", "/nothing"),
        admin.call("GET", "/admin/v1/../v1/nothing"),
        admin.call("PUT", "/tenants", {}),
        admin.call("OPTIONS", "/tenants"),
        admin.call("POST", "/tenants", {"name": "acme"}),
        admin.call("POST", "/tenants", {"name": 1}),
        admin.call("POST", "/tenants", []),
        admin.call("POST", "/tenants", {"name": "x", "unknown": 1}),
        admin.call("POST", "/tenants", {}),
        admin.call("PATCH", f"/keys/{key}", {"data_class": "P7"}),
        admin.call("GET", "/keys?limit=zero"),
        client.post("/admin/v1/tenants", content=b'{"name":', headers=sent),
        client.post("/admin/v1/tenants", content=b"\xff\xfe", headers=sent),
        client.post("/admin/v1/tenants", content=b"[" * 60_000, headers=sent),
        client.post("/admin/v1/tenants", content=b'{"name":"' + b"x" * 70_000, headers=sent),
        client.post("/admin/v1/tenants", content=iter([b"x" * 50_000] * 4), headers=sent),
        client.post("/admin/v1/tenants", content=b"{}", headers=sent | {"content-type": "text/plain"}),
        client.get("/admin/v1/me", headers={"host": "evil.example"}),
    ]


def test_every_refusal_has_the_one_shape_and_the_headers(cast: Cast) -> None:
    for answer in [*bad_requests(cast), cast.admin.call("GET", "/me"), cast.admin.client.get("/healthz")]:
        for name, value in SECURITY_HEADERS:
            assert answer.headers[name.decode()] == value.decode(), answer.request.url
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers.get_list("server") == ["fastpath"]
        assert "set-cookie" not in answer.headers
        if not answer.is_success:
            jsonschema.validate(answer.json(), ERROR)
            assert 400 <= answer.status_code < 500, answer.text


def test_a_body_beyond_the_limit_is_not_read(cast: Cast) -> None:
    parts = urlsplit(str(cast.admin.client.base_url))
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("POST", "/admin/v1/tenants")
    for name, value in (
        ("content-type", "application/json"),
        ("content-length", str(1 << 40)),
        ("authorization", f"Bearer {cast.admin.token}"),
    ):
        connection.putheader(name, value)
    connection.endheaders(b"{")
    assert connection.getresponse().status == 413
    connection.close()


async def contents(rooms: Rooms) -> dict[str, list[Any]]:
    async with rooms.database.read() as connection:
        return {table.name: list(await connection.execute(select(table))) for table in METADATA.sorted_tables}


async def test_no_get_changes_anything(rooms: Rooms, api: httpx.AsyncClient) -> None:
    tree = await make_tree(api)
    provider = (await api.post("/provider-keys", json={"name": "p", "value": "sk"})).json()
    me = (await api.get("/me")).json()
    known = {kind: tree[kind]["id"] for kind in ("tenant", "team", "user", "key")}
    known |= {"provider-key": provider["id"], "admin-key": me["id"]}
    before = await contents(rooms)
    for place in EXPECTED:
        method, path = place.split()
        kind = path.removeprefix("/admin/v1/").split("/")[0].removesuffix("s")
        for tried in {method, "GET", "HEAD", "OPTIONS"} - {"POST", "PATCH", "DELETE"}:
            answer = await api.request(tried, f"http://localhost{path.replace('{object_id}', known.get(kind, ''))}")
            assert answer.status_code < 500
    assert await contents(rooms) == before


def test_the_document_tells_every_route_and_is_sound(cast: Cast) -> None:
    document = cast.admin.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    told = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert told == {f"{method} {path}" for handler in ROUTES for path, method in places(handler)} == set(EXPECTED)
    for place, letters in EXPECTED.items():
        method, path = place.split()
        operation = document["paths"][path][method.lower()]
        assert operation["x-roles"] == [LETTERS[letter] for letter in letters], place
        assert operation["description"]
        assert operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert bool(operation["security"]) is (path != "/healthz")
        bare = path.startswith("/admin/v1/master") or path.endswith("/resend")
        assert ("requestBody" in operation) is (method in ("POST", "PATCH") and not bare)
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert name
    references = set(_references(document))
    assert references <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_answers_are_what_the_document_says(cast: Cast, control: ControlProcess) -> None:
    request = secrets.token_bytes(16)
    keep_decisions(control.state, [make_decision(request, time.time())])
    cast.ids["decision"] = name_of(request)
    document = cast.admin.get("/openapi.json")
    for place in EXPECTED:
        method, path = place.split()
        if method != "GET" or path == "/openapi.json":
            continue
        kind = path.removeprefix("/admin/v1/").split("/")[0]
        names = {
            "admin-keys": "developer key",
            "provider-keys": "provider",
            "invoices": "tenant",
            "policies": "policy",
            "alert-destinations": "destination",
        }
        known = names.get(kind, kind.removesuffix("s"))
        answer = cast.admin.get(path.replace("{object_id}", cast.ids.get(known, "")))
        content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer, content | {"components": document["components"]})


def _references(value: Any) -> Any:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
