"""A whole node with its control process: what the admin API decides holds at the data plane, whatever dies."""

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from controlplane.bootstrap import Ask, ask_control
from fastpath.settings.control import PUBLISHED, TRUSTED
from tests.conftest import GatewayNode, ModelServer
from tests.controlplane.conftest import Caller

PATIENCE = 60.0
IN_FORCE = 2.0
"""Seconds in which a change must hold everywhere; a busy machine gets `SLACK` of them."""
SLACK = 5


class ControlledNode(GatewayNode):
    """A gateway that runs a control process, started with `control: {}` and the given settings."""

    def __init__(self, folder: Path, upstream: str, *, only_api: bool = True, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        model = {"name": "llama", "endpoints": [{"url": upstream, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}]}
        given = {"control": {"port": 0}, "models": [model], **settings}
        super().__init__(folder, given | ({"keys": []} if only_api else {}))
        self.state = folder / "state"

    def admin_api(self, token: str = "") -> Caller:
        """The admin API, with a key or as the first admin."""
        url = self.line("control on").split()[-1]
        if not token:
            answer = ask_control(self.state, Ask())
            assert answer.token, answer.problem
            token = answer.token
        return Caller(httpx.Client(base_url=url, timeout=PATIENCE), token)

    def urls(self) -> list[str]:
        """Where its control processes have served, the first one first."""
        return [line.split()[-1] for line in self.lines if line.startswith("control on")]

    def control(self) -> psutil.Process | None:
        """The control process, if one runs."""
        for child in self.children():
            try:
                if "controlplane" in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def ask(self, key: str = "") -> int:
        """The status of a chat completion."""
        body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.post(f"{self.url}/chat/completions", json=body, headers=headers, timeout=PATIENCE).status_code

    def state_for_callers(self) -> str:
        """What /readyz says to callers, 200 in any case."""
        answer = httpx.get(f"{self.url.removesuffix('/v1')}/readyz", timeout=PATIENCE)
        assert answer.status_code == 200
        status: str = answer.json()["status"]
        return status

    def ready(self) -> Any:
        """What /readyz of the admin port says."""
        return json.loads(self.admin("/readyz"))


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    """Waits for something that no event tells of; how long that was."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.02)
    return time.monotonic() - began


def make_key(api: Caller, tenant: str = "acme", **scope: Any) -> tuple[str, dict[str, Any]]:
    """A key with everything above it: the token and the key's view."""
    above = api.make("/tenants", {"name": tenant})
    team = api.make("/teams", {"name": "core", "tenant_id": above["id"]})
    user = api.make("/users", {"name": "ann", "team_id": team["id"]})
    issued = api.make("/keys", {"name": "laptop", "user_id": user["id"], **scope})
    return issued["token"], issued["key"]


@pytest.fixture
def node(tmp_path: Path, model_server: ModelServer) -> Iterator[Callable[..., ControlledNode]]:
    """Starts nodes on one state folder, one after the other: `node(**settings)`."""
    started: list[ControlledNode] = []

    def start(**settings: Any) -> ControlledNode:
        started.append(ControlledNode(tmp_path / "node", model_server.url, **settings))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


def test_a_key_of_the_admin_api_works_until_it_is_deleted_and_stays_gone(node: Callable[..., ControlledNode]) -> None:
    first = node()
    assert first.ask() == 401  # before any key exists: nothing is open because nothing was made yet
    api = first.admin_api()
    token, key = make_key(api)
    kept, _ = make_key(api, "umbrella")
    until(lambda: first.ask(token) == 200, "the key never worked", IN_FORCE * SLACK)
    until(lambda: first.ask(kept) == 200, "the other key never worked", IN_FORCE * SLACK)
    assert first.ready() == {"status": "ready"}

    control = first.control()
    assert control is not None
    api.call("DELETE", f"/keys/{key['id']}")
    until(lambda: first.ask(token) == 401, "the deleted key went on working", IN_FORCE * SLACK)
    control.kill()
    first.process.kill()
    first.end()

    second = node(control={"port": 0, "database": "postgresql://nobody@127.0.0.1:9/none"})  # nothing publishes
    assert [second.ask(each) for each in (kept, token, "")] == [200, 401, 401]
    second.line("the control process is gone and will be started again")
    assert second.ready()["status"] == "degraded"
    until(lambda: second.state_for_callers() == "degraded", "callers' /readyz does not say it")


def test_both_workers_follow_and_a_rotated_key_has_two_secrets(node: Callable[..., ControlledNode]) -> None:
    served = node(workers=2)
    api = served.admin_api()
    token, key = make_key(api)
    newer = api.make(f"/keys/{key['id']}/rotate", {"overlap": 600})["token"]
    until(lambda: all(served.ask(each) == 200 for each in (token, newer) * 4), "a secret does not work everywhere")
    api.make(f"/keys/{key['id']}/rotate", {"overlap": 0})
    gone = until(lambda: all(served.ask(each) == 401 for each in (token, newer) * 4), "an old secret works somewhere")
    assert gone < IN_FORCE * SLACK


def test_a_killed_control_process_takes_no_traffic_along_and_comes_back(node: Callable[..., ControlledNode]) -> None:
    served = node()
    api = served.admin_api()
    token, key = make_key(api)
    until(lambda: served.ask(token) == 200, "the key never worked")
    old = served.control()
    assert old is not None
    old.kill()
    served.line("the control process is gone and will be started again, traffic goes on: it was killed by SIGKILL")
    said = served.ready()
    assert said == {"status": "degraded", "problems": ["the control process is not serving"]}
    until(lambda: served.state_for_callers() == "degraded", "callers' /readyz does not say it")
    assert served.ask(token) == 200
    until(lambda: served.ready() == {"status": "ready"}, "it did not come back")
    until(lambda: served.state_for_callers() == "ready", "callers' /readyz goes on saying degraded")
    assert served.control() != old
    until(lambda: len(served.urls()) == 2, "it did not say where it serves")
    again = Caller(httpx.Client(base_url=served.urls()[1], timeout=PATIENCE), api.token)
    again.call("DELETE", f"/keys/{key['id']}")
    until(lambda: served.ask(token) == 401, "what was changed after the restart does not hold", IN_FORCE * SLACK)


def test_an_older_publication_is_refused_also_after_a_restart(node: Callable[..., ControlledNode]) -> None:
    served = node()
    api = served.admin_api()
    token, key = make_key(api)
    until(lambda: served.ask(token) == 200, "the key never worked")
    published = served.state / PUBLISHED
    old = {path.name: path.read_bytes() for path in published.iterdir() if path.is_file()}
    api.call("DELETE", f"/keys/{key['id']}")
    until(lambda: served.ask(token) == 401, "the deleted key went on working")
    control = served.control()
    assert control is not None
    control.suspend()  # or it would publish anew, over what is put there now
    try:
        for name in [name for name in old if name.startswith(("settings-", "keys-", "manifest"))]:
            target = published / name
            target.write_bytes(old[name])
            target.chmod(0o600)
        assert "after" in served.line("publication not taken")
        assert served.ready()["status"] == "degraded"
        assert served.ask(token) == 401
    finally:
        control.kill()
        served.process.kill()
        served.end()
    again = node(control={"port": 0, "database": "postgresql://nobody@127.0.0.1:9/none"})  # nothing publishes
    assert "after" in again.line("publication not taken")
    assert again.ask(token) == 401


def test_what_the_file_names_wins_and_the_clash_is_told(node: Callable[..., ControlledNode]) -> None:
    of_file = node(only_api=False, tenants=[{"name": "acme"}])
    api = of_file.admin_api()
    token, _ = make_key(api)
    other, _ = make_key(api, "umbrella")
    until(lambda: of_file.ask(other) == 200, "the key without a clash never worked")
    assert "tenant acme of the admin API and its keys are not used" in of_file.line("tenant acme")
    assert of_file.ask(token) == 401
    assert of_file.ask(of_file.key) == 200


def test_a_key_ends_on_time_while_the_control_process_stands_still(node: Callable[..., ControlledNode]) -> None:
    served = node()
    token, _ = make_key(served.admin_api(), expires_at=int(time.time()) + 4)
    until(lambda: served.ask(token) == 200, "the key never worked")
    control = served.control()
    assert control is not None
    control.suspend()
    try:
        until(lambda: served.ask(token) == 401, "the key did not end", 4 + IN_FORCE * SLACK)
    finally:
        control.kill()


def test_a_key_is_held_to_its_paths_networks_and_data_class(node: Callable[..., ControlledNode]) -> None:
    served = node()
    api = served.admin_api()
    token, key = make_key(api, networks=["10.0.0.0/8"])
    until(lambda: served.ask(token) == 403, "a key that may not be used from here is not refused", IN_FORCE * SLACK)
    api.edit(f"/keys/{key['id']}", {"networks": ["127.0.0.0/8"], "paths": ["/v1/chat/completions"]})
    until(lambda: served.ask(token) == 200, "the key did not come into force", IN_FORCE * SLACK)
    assert _models(served, token) == 403
    api.edit(f"/keys/{key['id']}", {"paths": None, "data_class": "P1", "models": ["other"]})
    until(lambda: served.ask(token) == 404, "the models do not hold", IN_FORCE * SLACK)
    assert _models(served, token) == 200
    assert _models(served, token, "P0") == 403
    assert _models(served, token, "P2") == 200
    assert _models(served, token, "secret") == 400


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        ({"disabled": True}, "invalid_api_key"),
        ({"expires_at": 2}, "invalid_api_key"),
        ({"models": ["other"]}, "permission_denied"),
        ({"paths": ["/v1/embeddings"]}, "permission_denied"),
        ({"networks": ["10.0.0.0/8"]}, "permission_denied"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_taken_away_ends_running_streams_everywhere(
    tmp_path: Path, mock_process: Callable[..., ModelServer], edit: dict[str, Any], code: str
) -> None:
    upstream = mock_process("--model", "llama", "--tokens", "5000", "--rate", "20")
    served = ControlledNode(tmp_path / "node", upstream.url, workers=2, log={"access": "access.log"})
    try:
        api = served.admin_api()
        token, key = make_key(api)
        kept, _ = make_key(api, "umbrella")
        until(lambda: _models(served, token) == _models(served, kept) == 200, "the keys never worked")
        with ExitStack() as stack:
            streams = [stack.enter_context(running_stream(served, token)) for _ in range(4)]
            other = stack.enter_context(running_stream(served, kept))
            given = {name: int(time.time()) + value if name == "expires_at" else value for name, value in edit.items()}
            api.edit(f"/keys/{key['id']}", given)
            began = time.monotonic()
            ends = [stream.read() for stream in streams]
            assert time.monotonic() - began < (IN_FORCE + 2) * SLACK
            assert b"data: [DONE]" not in b"".join(ends)
            last = [json.loads(end.strip().rpartition(b"data: ")[2])["error"] for end in ends]
            assert [error["code"] for error in last] == [code] * 4
            assert other.read(20), "another tenant's stream was ended too"
        lines = until_lines(tmp_path / "node" / "access.log", 4, code)
        assert {(line["status"], line["outcome"], line["error"]) for line in lines} == {(200, "broken", code)}
        assert all(line["output_tokens"] > 0 and line["key"].endswith(key["id"]) for line in lines)
    finally:
        served.end()


def test_a_policy_that_denies_ends_running_streams_everywhere(
    tmp_path: Path, mock_process: Callable[..., ModelServer]
) -> None:
    upstream = mock_process("--model", "llama", "--tokens", "5000", "--rate", "20")
    served = ControlledNode(tmp_path / "node", upstream.url, workers=2, log={"access": "access.log"})
    try:
        api = served.admin_api()
        token, _ = make_key(api)
        kept, _ = make_key(api, "umbrella")
        tenant = next(each["id"] for each in api.get("/tenants")["data"] if each["name"] == "acme")
        until(lambda: _models(served, token) == _models(served, kept) == 200, "the keys never worked")
        with ExitStack() as stack:
            streams = [stack.enter_context(running_stream(served, token)) for _ in range(4)]
            other = stack.enter_context(running_stream(served, kept))
            api.make("/policies", {"name": "not-now", "effect": "deny", "models": ["llama"], "tenant_id": tenant})
            began = time.monotonic()
            ends = [stream.read() for stream in streams]
            assert time.monotonic() - began < (IN_FORCE + 2) * SLACK
            last = [json.loads(end.strip().rpartition(b"data: ")[2])["error"] for end in ends]
            assert [error["code"] for error in last] == ["policy_blocked"] * 4
            assert other.read(20), "another tenant's stream was ended too"
        lines = until_lines(tmp_path / "node" / "access.log", 4, "policy_blocked")
        assert {(line["status"], line["outcome"], line["policy"]) for line in lines} == {
            (200, "broken", "acme/not-now")
        }
    finally:
        served.end()


def until_lines(log: Path, count: int, code: str) -> list[dict[str, Any]]:
    """Access lines with that error, as soon as there are so many."""
    found: list[dict[str, Any]] = []

    def read() -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        found[:] = [line for line in lines if line["error"] == code and line["stream"]]
        return len(found) == count

    until(read, f"there are no {count} lines with {code}")
    return found


@contextmanager
def running_stream(served: ControlledNode, token: str) -> Iterator[http.client.HTTPResponse]:
    """A stream that has begun."""
    body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection = http.client.HTTPConnection(served.url.split("/")[2], timeout=PATIENCE)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read(10)
        yield answer
    finally:
        connection.close()


def test_workers_finish_first_and_the_control_process_is_the_last_to_go(
    tmp_path: Path, mock_process: Callable[..., ModelServer]
) -> None:
    upstream = mock_process("--model", "llama", "--ttft", "2")
    served = ControlledNode(tmp_path / "node", upstream.url, listen={"drain": 20})
    try:
        token, _ = make_key(served.admin_api())
        until(lambda: _models(served, token) == 200, "the key never worked")
        control = served.control()
        assert control is not None
        answered: list[int] = []
        asking = threading.Thread(target=lambda: answered.append(served.ask(token)))
        asking.start()
        until(lambda: served.admin("/debug/requests") != "[]", "the request does not run")
        served.process.terminate()
        workers = [child for child in served.children() if "fastpath.process.worker" in " ".join(child.cmdline())]
        assert len(workers) == 1
        seen = False
        while workers[0].is_running():
            seen = control.is_running()  # until the last look before the worker was gone
            time.sleep(0.01)
        assert seen
        asking.join(PATIENCE)
        assert answered == [200]
        assert served.process.wait(PATIENCE) == 0
        assert not control.is_running()
        gone = [line for line in served.lines if "is gone" in line]
        assert not gone, "the control process ended before it was told to"
    finally:
        served.end()


def test_no_control_process_outlives_a_killed_supervisor(node: Callable[..., ControlledNode]) -> None:
    served = node()
    served.admin_api()
    control = served.control()
    assert control is not None
    served.process.send_signal(signal.SIGKILL)
    control.wait(PATIENCE)


def test_a_new_supervisor_has_a_control_process_before_the_old_workers_are_done(
    tmp_path: Path, mock_process: Callable[..., ModelServer]
) -> None:
    upstream = mock_process("--model", "llama", "--ttft", "60")
    served = ControlledNode(tmp_path / "node", upstream.url, listen={"drain": 60})
    try:
        token, _ = make_key(served.admin_api())
        until(lambda: _models(served, token) == 200, "the key never worked")
        old = served.control()
        assert old is not None
        with running_chat(served, token):
            served.process.send_signal(signal.SIGUSR2)
            served.line("handed over to process")
            old.wait(PATIENCE)
            until(lambda: served.ready() == {"status": "ready"}, "the successor's control process never served")
            assert _models(served, token) == 200
            assert served.process.poll() is None
    finally:
        left = served.children()
        served.process.kill()
        for child in left:
            if child.is_running():
                child.kill()
        served.end()


@contextmanager
def running_chat(served: ControlledNode, token: str) -> Iterator[None]:
    """While a request waits for its answer, which it need not get."""
    body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    connection = http.client.HTTPConnection(served.url.split("/")[2], timeout=PATIENCE)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        until(lambda: served.admin("/debug/requests") != "[]", "the request does not run")
        yield
    finally:
        connection.close()


def test_rules_of_the_admin_api_hold_beside_those_of_the_file(node: Callable[..., ControlledNode]) -> None:
    rule = {"name": "no-embeddings", "effect": "deny", "paths": ["/v1/embeddings"]}
    served = node(policies=[rule])
    api = served.admin_api()
    token, _ = make_key(api)
    other, _ = make_key(api, "umbrella")
    tenant = next(each["id"] for each in api.get("/tenants")["data"] if each["name"] == "acme")
    chief = api.as_(api.make("/admin-keys", {"name": "chief", "role": "tenant-admin", "tenant_id": tenant})["token"])
    until(lambda: (served.ask(token), served.ask(other)) == (200, 200), "the keys never worked", IN_FORCE * SLACK)
    made = chief.make("/policies", {"name": "not-now", "effect": "deny", "models": ["llama"]})
    until(lambda: served.ask(token) == 403, "the rule never held", IN_FORCE * SLACK)
    assert served.ask(other) == 200, "it is the other tenant's rule"
    answer = httpx.post(
        f"{served.url}/embeddings",
        json={"model": "llama", "input": "x"},
        headers={"authorization": f"Bearer {other}"},
        timeout=PATIENCE,
    )
    assert answer.status_code == 403
    assert "acme" not in answer.text
    chief.call("DELETE", f"/policies/{made['id']}")
    until(lambda: served.ask(token) == 200, "the rule went on holding", IN_FORCE * SLACK)


def _models(served: ControlledNode, token: str, data_class: str = "") -> int:
    headers = {"authorization": f"Bearer {token}"} | ({"x-fastpath-data-class": data_class} if data_class else {})
    return httpx.get(f"{served.url}/models", headers=headers, timeout=PATIENCE).status_code


def test_the_folder_is_private_and_nothing_shows_where_the_database_is(
    node: Callable[..., ControlledNode], tmp_path: Path
) -> None:
    canary = "canary-of-the-database"
    served = node(control={"port": 0, "database": f"sqlite:///{tmp_path}/{canary}.db"})
    served.admin_api()
    assert (tmp_path / f"{canary}.db").exists()
    for path in served.state.rglob("*"):
        assert not path.lstat().st_mode & 0o077 or path.is_socket(), path
    assert (served.state / TRUSTED).read_text().startswith("ed25519:")
    for child in served.children():
        assert canary not in " ".join((*child.cmdline(), *child.environ().values()))
