"""One run for each key, whichever worker is asked and whoever is killed: real processes, one worker and three."""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token

PATIENCE = 60.0
CALLERS = 64


class Answer:
    """One answer, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def code(self) -> str | None:
        found: str | None = json.loads(self.body)["error"]["code"] if self.status >= 400 else None
        return found


class Node:
    """A gateway that can be killed whole and started again on its state."""

    def __init__(self, launch: Any, state: Path, workers: int) -> None:
        self.launch = launch
        self.state = state
        self.workers = workers
        self.key = new_token().reveal()
        self.hash = KeyHasher(make_pepper(state)).hash_text(self.key)
        self.mock = launch.mock("--model", "llama", "--tokens", "6")
        self.start()

    def start(self) -> None:
        endpoint = {"url": self.mock.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
        settings = {
            "workers": self.workers,
            "state_dir": str(self.state),
            "keys": [{"name": "caller", "hash": self.hash}],
            "models": [{"name": "llama", "endpoints": [endpoint]}],
            "idempotency": {"keys": 4096},
        }
        self.program = self.launch.gateway(settings)
        self.port = int(re.findall(r":(\d+)/v1", self.program.url)[0])

    def open(self, key: str, fault: dict[str, Any] | None = None, **more: Any) -> http.client.HTTPConnection:
        """A connection on which a request was sent."""
        body = {"model": "llama", "messages": [{"role": "user", "content": "hello"}], **more}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json", "idempotency-key": key}
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body | ({"mock": fault} if fault else {})), headers
        )
        return connection

    def ask(self, key: str, fault: dict[str, Any] | None = None, **more: Any) -> Answer:
        connection = self.open(key, fault, **more)
        try:
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def ask_until(self, key: str, fault: dict[str, Any] | None = None, **more: Any) -> Answer:
        """Repeats while the first request is said to run, or no worker is there."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self.ask(key, fault, **more)
            except OSError:
                answer = None
            if answer is not None and answer.code not in ("in_progress", "overloaded"):
                return answer
            assert time.monotonic() < end, "it never ended"
            time.sleep(0.02)

    def worker_processes(self) -> list[psutil.Process]:
        found = psutil.Process(self.program.process.pid).children(recursive=True)
        return [child for child in found if "fastpath.process.worker" in " ".join(child.cmdline())]

    def kill_workers(self) -> None:
        for worker in self.worker_processes():
            worker.kill()

    def kill_all(self) -> None:
        family = [psutil.Process(self.program.process.pid), *self.program.children()]
        for process in family:
            process.kill()
        self.program.process.wait()
        psutil.wait_procs(family, PATIENCE)

    @property
    def in_flight(self) -> list[str]:
        """The phases of the requests that run."""
        return [request["phase"] for request in json.loads(self.program.admin("/debug/requests"))]

    @property
    def asked(self) -> int:
        """Requests that reached the mock and have ended."""
        return len(self.mock.records())


@pytest.fixture(params=[1, 3], ids=["one worker", "three workers"])
def node(request: pytest.FixtureRequest, launch: Any, tmp_path: Path) -> Node:
    return Node(launch, tmp_path / "state", request.param)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_of_64_at_once_exactly_one_reaches_the_model_server(node: Node, stream: bool) -> None:
    together = threading.Barrier(CALLERS)

    def ask(_: int) -> Answer:
        together.wait(PATIENCE)
        return node.ask("key-1", {"ttft": 0.2}, stream=stream)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(ask, range(CALLERS)))
    assert node.asked == 1
    assert {(answer.status, answer.code) for answer in answers} <= {(200, None), (409, "in_progress")}
    (body,) = {answer.body for answer in answers if answer.status == 200}
    again = [node.ask_until("key-1", {"ttft": 0.2}, stream=stream) for _ in range(6)]
    assert {answer.body for answer in again} == {body}
    assert {answer.headers["idempotent-replayed"] for answer in again} == {"true"}
    assert node.asked == 1


def test_a_request_whose_worker_was_killed_before_it_answered_runs_again(node: Node) -> None:
    node.mock.script({"ttft": 30}, times=1)
    connection = node.open("key-1")
    until(lambda: node.in_flight == ["waiting"])
    assert node.ask("key-1").code == "in_progress"
    node.kill_workers()
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.getresponse()
    answer = node.ask_until("key-1")
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers


def test_a_stream_whose_worker_was_killed_after_it_began_is_not_run_again(node: Node) -> None:
    connection = node.open("key-1", {"rate": 2}, stream=True, max_tokens=50)
    response = connection.getresponse()
    assert response.readline().startswith(b"data:")
    node.kill_workers()
    answer = node.ask_until("key-1", {"rate": 2}, stream=True, max_tokens=50)
    assert (answer.status, answer.code) == (409, "answer_not_stored")
    assert answer.headers["x-should-retry"] == "false"
    connection.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_survive_the_kill_of_all_processes(node: Node, stream: bool) -> None:
    first = node.ask("key-1", stream=stream)
    until(lambda: node.ask("key-1", stream=stream).headers.get("idempotent-replayed"))
    node.kill_all()
    node.start()
    again = node.ask("key-1", stream=stream)
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert node.asked == 1


def test_kills_at_any_moment_give_one_answer_or_the_truth(node: Node) -> None:
    """Whatever was answered 200 is answered alike ever after, and ran as often as it was not answered before."""
    delays = [0.0, 0.004, 0.01, 0.02, 0.03, 0.05]
    for number, delay in enumerate(delays):
        key = f"key-{number}"
        # Of another length each time: one request that is running at two deaths is refused (F44).
        user = "x" * (number + 1)
        connection = node.open(key, {"ttft": 0.01, "rate": 200}, user=user)
        time.sleep(delay)
        node.kill_workers()
        try:
            first = Answer(connection.getresponse())
        except (OSError, http.client.HTTPException):
            first = None
        connection.close()
        again = node.ask_until(key, {"ttft": 0.01, "rate": 200}, user=user)
        assert (again.status, again.code) in ((200, None), (409, "answer_not_stored"))
        if first is not None and again.status == 200:
            assert again.body == first.body
            assert again.headers["idempotent-replayed"] == "true"
