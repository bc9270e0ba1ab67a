"""Tokens of an identity provider at a whole node: two workers, tenants of the admin API, and who is billed."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ModelServer
from tests.controlplane.conftest import Caller
from tests.controlplane.test_with_serve import IN_FORCE, PATIENCE, SLACK, ControlledNode, running_stream, until
from tests.idp.server import IdentityProvider
from tests.idp.thread import ThreadedProvider


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    with ThreadedProvider() as running:
        yield running.idp


@pytest.fixture
def start(tmp_path: Path, model_server: ModelServer, idp: IdentityProvider) -> Iterator[Callable[..., ControlledNode]]:
    """Starts a node whose workers and control process believe `idp`, each for its own audience."""
    started: list[ControlledNode] = []
    common = {"name": "corp", "issuer": idp.issuer, "allow_hosts": ["127.0.0.1"]}

    def start(**settings: Any) -> ControlledNode:
        claims = {"tenant": "tid", "team": "team"}
        caller = {**common, "audience": ["https://gateway.test"], "claims": claims, "tenants": ["acme", "of-file"]}
        admin = {**common, "audience": ["admin"], "grants": [{"scope": "root", "role": "admin"}]}
        given = {"workers": 2, "issuers": [caller], "control": {"port": 0, "issuers": [admin]}}
        started.append(ControlledNode(tmp_path / "node", model_server.url, **given | settings))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_a_tenant_of_the_admin_api_lets_its_tokens_in_and_pays(
    start: Callable[..., ControlledNode], idp: IdentityProvider
) -> None:
    node = start()
    ann = idp.access_token(sub="ann", tid="acme", team="core").decode()
    assert node.ask(ann) == 403, "nobody made the tenant yet"
    root = idp.access_token(sub="root", aud="admin", scope="root").decode()
    api = node.admin_api(root)
    until(lambda: api.call("GET", "/me").is_success, "an administrator's token was never taken")
    assert [node.ask(root), api.as_(ann).call("GET", "/me").status_code] == [401, 401], "each opens its own door"
    tenant = api.make("/tenants", {"name": "acme"})
    team = api.make("/teams", {"name": "core", "tenant_id": tenant["id"]})
    user = api.make("/users", {"name": "corp:ann", "team_id": team["id"]})
    until(lambda: all(node.ask(ann) == 200 for _ in range(4)), "the tenant's token never worked", IN_FORCE * SLACK)
    until(lambda: usage(api, "tenant").get(tenant["id"], 0) >= 4, "nobody was billed")
    until(lambda: node.ask(ann) and user["id"] in usage(api, "user"), "the user was not billed by its id")
    assert team["id"] in usage(api, "team")
    assert set(usage(api, "key")) == {"corp:ann"}

    for path, closed in (
        (f"/users/{user['id']}", 404),
        (f"/teams/{team['id']}", 404),
        (f"/tenants/{tenant['id']}", 403),
    ):
        api.edit(path, {"disabled": True})
        until(partial(answers, node, ann, closed), f"{path} is disabled", IN_FORCE * SLACK)
        api.edit(path, {"disabled": False})
        until(partial(answers, node, ann, 200), f"{path} is enabled", IN_FORCE * SLACK)
    for path, scope in (
        (f"/users/{user['id']}", {"networks": ["10.0.0.0/8"]}),
        (f"/teams/{team['id']}", {"paths": ["/v1/embeddings"]}),
        (f"/tenants/{tenant['id']}", {"networks": ["10.0.0.0/8"]}),
    ):
        api.edit(path, scope)
        until(partial(answers, node, ann, 403), f"{path} is limited", IN_FORCE * SLACK)
        api.edit(path, dict.fromkeys(scope))
        until(partial(answers, node, ann, 200), f"{path} is not limited any more", IN_FORCE * SLACK)
    api.edit(f"/tenants/{tenant['id']}", {"networks": ["127.0.0.0/8"], "paths": ["/v1/chat/completions"]})
    until(lambda: node.ask(ann) == 200, "it may be used from here", IN_FORCE * SLACK)


def test_a_tenant_that_is_disabled_ends_the_streams_of_its_tokens(
    start: Callable[..., ControlledNode], idp: IdentityProvider, mock_process: Callable[..., ModelServer]
) -> None:
    upstream = mock_process("--model", "llama", "--tokens", "5000", "--rate", "20")
    endpoint = {"url": upstream.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
    node = start(models=[{"name": "llama", "endpoints": [endpoint]}])
    root = idp.access_token(sub="root", aud="admin", scope="root").decode()
    api = node.admin_api(root)
    until(lambda: api.call("GET", "/me").is_success, "an administrator's token was never taken")
    tenant, _ = api.make("/tenants", {"name": "acme"}), api.make("/tenants", {"name": "umbrella"})
    ann = idp.access_token(sub="ann", tid="acme").decode()
    models = f"{node.url}/models"
    asked = {"headers": {"authorization": f"Bearer {ann}"}, "timeout": PATIENCE}
    until(lambda: httpx.get(models, **asked).status_code == 200, "the tenant's token never worked")  # type: ignore[arg-type]  # of several kinds
    with ExitStack() as stack:
        streams = [stack.enter_context(running_stream(node, ann)) for _ in range(3)]
        api.edit(f"/tenants/{tenant['id']}", {"disabled": True})
        began = time.monotonic()
        ends = [stream.read() for stream in streams]
        assert time.monotonic() - began < (IN_FORCE + 2) * SLACK
    last = [json.loads(end.strip().rpartition(b"data: ")[2])["error"]["code"] for end in ends]
    assert last == ["permission_denied"] * 3


def answers(node: ControlledNode, token: str, status: int) -> bool:
    """Whether all workers answer so."""
    return {node.ask(token) for _ in range(4)} == {status}


def usage(api: Caller, by: str) -> dict[str, int]:
    return {line["name"]: line["requests"] for line in api.get(f"/usage?by={by}")["data"] if line["name"]}


def test_a_limit_is_exact_over_tokens_and_workers(start: Callable[..., ControlledNode], idp: IdentityProvider) -> None:
    limit = {"count": "requests", "most": 7, "per": "day"}
    node = start(tenants=[{"name": "of-file", "limits": [limit]}])
    tokens = [idp.access_token(sub=f"user-{n}", tid="of-file").decode() for n in range(3)]
    until(lambda: node.ask(idp.access_token(sub="x", tid="acme").decode()) == 403, "no keys of the provider")
    statuses = [node.ask(token) for _ in range(8) for token in tokens]
    assert statuses == [200] * 7 + [429] * 17


def test_each_worker_fetches_for_itself_and_all_come_back(
    start: Callable[..., ControlledNode], idp: IdentityProvider
) -> None:
    node = start(tenants=[{"name": "of-file"}])
    token = idp.access_token(tid="of-file", exp=time.time() + 3600).decode()
    assert {node.ask(token) for _ in range(8)} == {200}
    until(lambda: idp.asked["/jwks"] == 3, "two workers and the control process")
    worker = next(child for child in node.children() if "fastpath.process.worker" in child.cmdline())
    worker.kill()
    until(lambda: idp.asked["/jwks"] == 4, "the new worker never asked")
    until(lambda: {node.ask(token) for _ in range(8)} == {200}, "the new worker never learnt")
