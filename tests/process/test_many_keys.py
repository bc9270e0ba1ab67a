"""100,000 published keys before 1,000 endpoints: how soon they hold, and how long a worker's loop stands still."""

import http.client
import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from _native.keytable import Row
from controlplane.publish.press import open_publisher
from fastpath.publication import Publisher
from fastpath.settings import Team, Tenant, User
from fastpath.settings.pepper import make_pepper
from fastpath.settings.roster import Grant, Roster, encode_roster
from fastpath.settings.token import KeyHasher

KEYS = 100_000
ENDPOINTS = 1_000
TENANTS, USERS = 200, 15
IN_FORCE = 2.0
PAUSE_MS = 5.0
SLACK = 3
"""Of a slow or busy machine. Measured on a quiet one: 0.1 to 0.4 s, 2.3 to 3.3 ms."""

SETTINGS = """
listen: {{host: 127.0.0.1, port: 0, admin_host: 127.0.0.1, admin_port: 0, drain: 1}}
log: {{access: "off"}}
state_dir: {state}
control: {{port: 0, database: "postgresql://nobody@127.0.0.1:9/none"}}
models:
"""


def roster_of(number: int) -> Roster:
    """3,000 users. `number` makes one that differs from the last."""
    teams = (Team(name="core"), Team(name="edge"))
    users = tuple(User(name=f"core/user-{user}", team="core") for user in range(USERS))
    tenants = tuple(Tenant(name=f"tenant-{each}-{number}", teams=teams, users=users) for each in range(TENANTS))
    ids = [f"{each:032x}" for each in range(TENANTS * USERS)]
    grants = (Grant(), Grant(models=("model-1",), networks=("127.0.0.0/8",)))
    return Roster(tenants, tuple(ids[:TENANTS]), tuple(ids[: 2 * TENANTS]), tuple(ids), grants)


class Crowd:
    """The rows of many keys, three of whose tokens are known."""

    def __init__(self, pepper: bytes) -> None:
        hasher, chance = KeyHasher(pepper), random.Random(4)
        self.tokens = ["alice", "bob", "carol"]
        digests = [hasher.digest(token.encode()) for token in self.tokens]
        digests += [chance.randbytes(32) for _ in range(KEYS - len(digests))]
        self.rows = [
            Row(digest, n.to_bytes(16, "big"), n % TENANTS, n % TENANTS * 2, n % (TENANTS * USERS), n % 2)
            for n, digest in enumerate(digests)
        ]


class Found(NamedTuple):
    """From the call to the first answer that shows it; the longest turn of the worker's loop meanwhile."""

    seconds: float
    cpu_ms: float
    wall_ms: float


class Gateway:
    """A node of one worker with the probe, and its publisher: no control process works."""

    def __init__(self, node: Any, publisher: Publisher, pepper: bytes) -> None:
        self.node = node
        self.pepper = pepper
        self.publisher = publisher
        self.callers = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)

    def status(self, token: str) -> int:
        """What a request gives; 0 while nobody answers."""
        try:
            self.callers.request("GET", "/v1/models", headers={"authorization": f"Bearer {token}"})
            answer = self.callers.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.callers.close()
            return 0
        return answer.status

    def models(self, token: str) -> str:
        self.callers.request("GET", "/v1/models", headers={"authorization": f"Bearer {token}"})
        return self.callers.getresponse().read().decode()

    def workers(self) -> list[psutil.Process]:
        """Without the control process that is started again and again."""
        return [each for each in self.node.workers() if "fastpath.process.worker" in each.cmdline()]

    def probe(self) -> dict[str, Any]:
        (found,) = json.loads(self.node.admin("/debug/requests")[1])
        assert isinstance(found, dict)
        return found

    def publish(self, roster: Roster, rows: list[Row], token: str, status: int) -> Found:
        """Until the token gives that status."""
        encoded = encode_roster(roster)
        self.probe()
        began = time.monotonic()
        self.publisher.publish_all(encoded, rows)
        while self.status(token) != status:
            assert time.monotonic() - began < 10 * IN_FORCE, "it never held"
        seconds, probe = time.monotonic() - began, self.probe()
        return Found(seconds, probe["cpu_ms"], probe["wall_ms"])


@pytest.fixture
def gateway(tmp_path: Path, start: Callable[..., Any]) -> Iterator[Gateway]:
    state = tmp_path / "state"
    pepper = make_pepper(state)
    publisher = open_publisher(state, pepper, KeyHasher(pepper).pepper_id)
    models = "".join(
        f"  - {{name: model-{model}, endpoints: [{', '.join(endpoints)}]}}\n"
        for model in range(10)
        for endpoints in [[f'{{url: "http://127.0.0.1:{n + 1}/v1"}}' for n in range(ENDPOINTS // 10)]]
    )
    node = start(SETTINGS.format(state=state) + models, app="probe_app:build").serving()
    yield Gateway(node, publisher, pepper)
    publisher.close()


def test_publish_to_applied_and_the_pause_of_a_worker(gateway: Gateway) -> None:
    crowd = Crowd(gateway.pepper)
    alice, bob, _ = crowd.tokens
    first = gateway.publish(roster_of(0), crowd.rows, alice, 200)
    assert [gateway.status(token) for token in (*crowd.tokens, "mallory")] == [200, 200, 200, 401]
    revoked = gateway.publish(roster_of(0), crowd.rows[1:], alice, 401)
    renamed = gateway.publish(roster_of(1), crowd.rows, alice, 200)
    assert gateway.status(bob) == 200
    for found in (first, revoked, renamed):
        assert found.seconds < IN_FORCE * SLACK
        assert found.cpu_ms < PAUSE_MS * SLACK


def test_workers_that_come_later_and_reloads_have_the_keys_too(gateway: Gateway, until: Callable[..., None]) -> None:
    rows = Crowd(gateway.pepper).rows[:3]
    gateway.publish(roster_of(0), rows, "alice", 200)
    path = gateway.node.path
    path.write_text(path.read_text().replace("model-9", "model-new"))
    gateway.node.signal(signal.SIGHUP)
    gateway.node.line("settings reloaded")
    assert "model-new" in gateway.models("alice")
    for token in ("alice", "bob"):
        (worker,) = gateway.workers()
        worker.kill()
        until(lambda gone=worker: gateway.workers() not in ([], [gone]))
        until(lambda token=token: gateway.status(token) == 200)
    gateway.publish(roster_of(0), rows[1:], "alice", 401)
    assert gateway.status("bob") == 200
