"""A control process of its own for tests, with its first admin, over a state folder that is removed afterwards."""

import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest

from controlplane.app import Rooms, build_app, open_rooms
from controlplane.bootstrap import Ask, ask_control, create_first_admin
from controlplane.settings import ControlSettings
from fastpath.settings.secret import Secret
from tests.conftest import Program
from tests.controlplane.store.cluster import Cluster

LIVING: Any = 4_000_000_000  # a moment that is far away
PATIENCE = 60.0


class Caller:
    """A client with one admin key. `call("POST", "/tenants", {...})` is the answer."""

    def __init__(self, client: httpx.Client, token: str) -> None:
        self.client = client
        self.token = token

    def call(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """One request; a path without /admin is below /admin/v1."""
        full = path if path.startswith(("/admin/", "/openapi", "/healthz")) else f"/admin/v1{path}"
        sent = {"authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        if body is not None:
            sent = {"content-type": "application/json"} | sent
        return self.client.request(method, full, content=content, headers=sent)

    def get(self, path: str) -> Any:
        """What a GET answers."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make(self, path: str, body: object) -> Any:
        """What was made by a POST."""
        answer = self.call("POST", path, body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def edit(self, path: str, body: object) -> Any:
        """What a PATCH made of it."""
        answer = self.call("PATCH", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def as_(self, token: str) -> "Caller":
        """The same client with another key."""
        return Caller(self.client, token)


class ControlProcess(Program):
    """`python -m controlplane`. Use as a context manager."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str] | None = None, wait: bool = True, **settings: Any
    ) -> None:
        super().__init__("-P", "-m", "controlplane", folder=folder, environ=environ)
        self.state = folder / "state"
        given = {"state_dir": str(self.state), "port": 0, "end_with_stdin": True, **settings}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        self.url = self.line("serving on").split()[-1] if wait else ""
        self.client = httpx.Client(base_url=self.url or "http://localhost", timeout=PATIENCE)

    def init(self) -> Caller:
        """The first admin."""
        answer = ask_control(self.state, Ask())
        assert answer.token, answer.problem
        return Caller(self.client, answer.token)

    def rss(self) -> int:
        """Resident memory, bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def end(self) -> None:
        self.client.close()
        super().end()


class Cast(msgspec.Struct):
    """Two tenants with everything in them, and somebody in each role; `callers` by role."""

    admin: Caller
    callers: dict[str, Caller]
    ids: dict[str, str]
    other: dict[str, str]
    strangers: dict[str, Caller]


def cast_of(admin: Caller) -> Cast:
    """Fills a new gateway. The callers are of the first tenant, the strangers of the other."""
    ids, others = _tenant(admin, "acme"), _tenant(admin, "umbrella")
    callers, strangers = {"admin": admin}, {}
    for role in ("operator", "auditor"):
        callers[role] = admin.as_(admin.make("/admin-keys", {"name": role, "role": role})["token"])
    for role, place in (("tenant-admin", "tenant_id"), ("developer", "user_id")):
        for known, found in ((ids, callers), (others, strangers)):
            body = {"name": role, "role": role, place: known[place.removesuffix("_id")]}
            issued = admin.make("/admin-keys", body)
            found[role] = admin.as_(issued["token"])
            known[f"{role} key"] = issued["admin_key"]["id"]
    for caller, known in ((callers["tenant-admin"], ids), (strangers["tenant-admin"], others)):
        known["policy"] = caller.make("/policies", {"name": "nights", "effect": "deny", "models": ["large"]})["id"]
    ids["provider"] = admin.make("/provider-keys", {"name": "openai", "value": "sk-of-the-tests"})["id"]
    ids["model"] = admin.make("/models", {"name": "registered"})["id"]
    place = {"model_id": ids["model"], "url": "http://registered.invalid/v1", "api_key": "sk-of-an-endpoint"}
    ids["endpoint"] = admin.make("/endpoints", {"name": "registered", **place})["id"]
    return Cast(admin, callers, ids, others, strangers)


def _tenant(admin: Caller, name: str) -> dict[str, str]:
    scope = {"models": ["small", "large"], "networks": ["10.0.0.0/8"], "data_class": "P1"}
    tenant = admin.make("/tenants", {"name": name, "paths": ["/v1/chat/completions", "/v1/embeddings"], **scope})
    team = admin.make("/teams", {"name": "core", "tenant_id": tenant["id"]})
    user = admin.make("/users", {"name": "ann", "team_id": team["id"]})
    key = admin.make("/keys", {"name": "laptop", "user_id": user["id"]})
    made = {"tenant": tenant, "team": team, "user": user, "key": key["key"]}
    return {kind: found["id"] for kind, found in made.items()} | {"token": key["token"]}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlProcess]:
    """A control process that the tests of a module share."""
    with ControlProcess(tmp_path_factory.mktemp("control")) as process:
        yield process


@pytest.fixture(scope="module")
def cast(control: ControlProcess) -> Cast:
    """Everybody there is, in `control`."""
    return cast_of(control.init())


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts control processes for one test: `start(environ=..., port=...)`."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(ControlProcess(given.pop("folder", tmp_path), **given))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One PostgreSQL server for all tests of this folder that want a database of their own."""
    with Cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ControlSettings:
    """Settings of an in-process control plane with an empty database, of each kind."""
    if request.param == "sqlite":
        return ControlSettings(state_dir=str(tmp_path / "state"))
    cluster: Cluster = request.getfixturevalue("postgres")
    url = cluster.url(cluster.create_database())
    return ControlSettings(state_dir=str(tmp_path / "state"), database=Secret(url))


@pytest.fixture
async def rooms(store: ControlSettings) -> AsyncIterator[Rooms]:
    """What a control process is made of, in this one."""
    async with open_rooms(store, os.environ, time.time) as opened:
        yield opened


@pytest.fixture
async def api(rooms: Rooms) -> AsyncIterator[httpx.AsyncClient]:
    """The admin API of `rooms` without a socket, with the first admin's key."""
    issued = await create_first_admin(rooms.trail, rooms.hasher, Ask())
    transport = httpx.ASGITransport(app=build_app(rooms), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {issued.token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost/admin/v1", headers=headers) as client:
        yield client


async def make_tree(api: httpx.AsyncClient, name: str = "acme", **scope: Any) -> dict[str, Any]:
    """A tenant, a team, a user and a key in `rooms`, as the API showed them; `token` is the key's."""
    tree: dict[str, Any] = {}
    body: dict[str, Any] = {"name": name, **scope}
    for kind, below in (("tenant", "team"), ("team", "user"), ("user", "key"), ("key", "")):
        answer = await api.post(f"/{kind}s", json=body)
        assert answer.status_code == 201, answer.text
        tree[kind] = answer.json()
        if kind == "key":
            tree["token"] = tree["key"]["token"]
            tree["key"] = tree["key"]["key"]
        body = {"name": f"{name}-{below}", f"{kind}_id": tree[kind]["id"]}
    return tree
