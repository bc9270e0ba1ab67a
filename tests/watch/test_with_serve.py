"""A whole node in real processes: what watching does to traffic, and what its death does not."""

import asyncio
import itertools
import json
import os
import signal
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import GatewayNode, ModelServer

PATIENCE = 60.0
CHAT = {"model": "llama", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
Start = Callable[..., GatewayNode]
Mock = Callable[..., ModelServer]


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Waits for something that no event tells of."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)
    return found


def states(node: GatewayNode) -> dict[str, str]:
    return {one["endpoint"]: one["state"] for one in json.loads(node.admin("/endpoints"))}


def watchers(node: GatewayNode) -> list[psutil.Process]:
    found = []
    for child in node.children():
        try:
            if "fastpath.process.watcher" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def metric(node: GatewayNode, series: str) -> float:
    lines = [line for line in node.admin("/metrics").splitlines() if line.startswith(series)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def endpoint(server: ModelServer, name: str, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1", "name": name, **more}


def settings(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    probe = {"interval": 1, "timeout": 1}
    return {"models": [{"name": "llama", "endpoints": list(endpoints)}], "watch": {"probe": probe}, **more}


class Traffic:
    """Requests through a gateway, one after the other in each of some tasks. Keeps statuses."""

    def __init__(self, node: GatewayNode, tasks: int = 4, rate: float = 0.0) -> None:
        self.statuses: list[int] = []
        self._node = node
        self._tasks = tasks
        self._pause = tasks / rate if rate else 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _run(self) -> None:
        headers = {"authorization": f"Bearer {self._node.key}"}
        async with httpx.AsyncClient(timeout=PATIENCE, headers=headers) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(self._tasks)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self._ended.is_set():
            answer = await client.post(f"{self._node.url}/chat/completions", json=CHAT)
            self.statuses.append(answer.status_code)
            await asyncio.sleep(self._pause)

    def more(self, count: int) -> None:
        """Waits for so many answers more."""
        wanted = len(self.statuses) + count
        until(lambda: len(self.statuses) >= wanted)

    @property
    def failures(self) -> list[int]:
        return [status for status in self.statuses if status != 200]


class Garbage(socketserver.ThreadingTCPServer):
    """Accepts, reads a head, answers nonsense; counts what was POSTed to it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.posts = 0
        super().__init__(("127.0.0.1", 0), _Nonsense)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Nonsense(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        head = self.request.recv(65536)
        assert isinstance(self.server, Garbage)
        self.server.posts += head.startswith(b"POST")
        self.request.sendall(b"\x00\x01 what? \r\n\r\n")


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    with Garbage() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_server_that_answers_garbage_is_out_in_three_probes_and_nobody_notices(
    gateway_process: Start, mock_process: Mock, garbage: Garbage
) -> None:
    good = mock_process("--model", "llama", "--tokens", "2")
    bad = {"url": garbage.url, "name": "bad", "tier": "L1"}
    node = gateway_process(settings(endpoint(good, "good"), bad))
    until(lambda: states(node) == {"good": "Running", "bad": "Failed"})
    assert metric(node, 'fastpath_watch_questions_total{endpoint="bad",kind="probe",result="bad"}') >= 3
    time.sleep(0.3)  # a tick of the worker
    before = garbage.posts
    with Traffic(node) as traffic:
        traffic.more(100)
    assert not traffic.failures
    assert garbage.posts == before
    assert 'ai_inference_endpoint_health{endpoint="bad",model="llama"} 0.0' in node.admin("/metrics")
    report = next(one for one in json.loads(node.admin("/endpoints")) if one["endpoint"] == "bad")
    assert "not HTTP" in report["message"]


def test_a_bad_key_is_failed_within_three_seconds_and_running_five_after_it_is_mended(
    gateway_process: Start, mock_process: Mock
) -> None:
    good = mock_process("--model", "llama")
    node = gateway_process(
        settings(endpoint(good, "one", api_key="sk-this-one-is-wrong")) | {"watch": {"probe": {"interval": 30}}}
    )
    until(lambda: states(node) == {"one": "Failed"}, 3 + 2)  # and a start on a busy machine
    report = json.loads(node.admin("/endpoints"))[0]
    assert "api_key" in report["message"]
    assert "wrong" not in report["message"]
    text = node.path.read_text().replace("sk-this-one-is-wrong", "${UPSTREAM_KEY}")
    node.path.write_text(text)
    node.process.send_signal(signal.SIGHUP)
    until(lambda: states(node) == {"one": "Running"}, 5)
    assert json.loads(node.admin("/endpoints"))[0]["message"] == ""


def test_killing_the_watch_process_again_and_again_fails_no_request(gateway_process: Start, mock_process: Mock) -> None:
    one, two = (mock_process("--model", "llama", "--tokens", "2") for _ in range(2))
    load = {"engine": "vllm"}
    node = gateway_process(settings(endpoint(one, "one", load=load), endpoint(two, "two", load=load), workers=2))
    until(lambda: states(node) == {"one": "Running", "two": "Running"})
    with Traffic(node) as traffic:
        for number in range(1, 6):
            (child,) = until(lambda: watchers(node))
            child.send_signal(signal.SIGKILL)
            until(lambda count=number: metric(node, "fastpath_watch_restarts_total") >= count)
            traffic.more(10)
        until(lambda: states(node) == {"one": "Running", "two": "Running"})
    assert not traffic.failures
    assert metric(node, "fastpath_watch_up") == 1


def test_a_dead_watch_process_keeps_no_endpoint_out(gateway_process: Start, mock_process: Mock) -> None:
    """The endpoint is well again, and nobody is there to say so: it is let in by time alone."""
    good, sick = (mock_process("--model", "llama", "--tokens", "2") for _ in range(2))
    sick.script({"status": 500}, path="/v1/models")
    node = gateway_process(settings(endpoint(good, "good"), endpoint(sick, "sick")))
    until(lambda: states(node)["sick"] == "Failed")
    (child,) = watchers(node)
    child.send_signal(signal.SIGSTOP)
    try:
        with Traffic(node, rate=50) as traffic:
            until(lambda: any(record["path"].endswith("/chat/completions") for record in sick.records()))
        assert not traffic.failures
    finally:
        child.send_signal(signal.SIGCONT)


def test_a_watch_process_that_stands_still_lets_samples_grow_old_and_traffic_go_on(
    gateway_process: Start, mock_process: Mock
) -> None:
    one = mock_process("--model", "llama", "--tokens", "2", "--slots", "1", "--ttft", "0.05")
    # In a cloud: those at home say with each answer how busy they are, whoever stands still.
    watched = endpoint(one, "one", load={"engine": "vllm", "interval": 1}, tier="L2")
    node = gateway_process(settings(watched))
    age = 'fastpath_endpoint_sample_age_seconds{endpoint="one",model="llama"}'
    with Traffic(node) as traffic:
        until(lambda: metric(node, 'fastpath_endpoint_waiting{endpoint="one",model="llama"}') >= 1)
        (child,) = watchers(node)
        child.send_signal(signal.SIGSTOP)
        until(lambda: metric(node, age) > 3)
        traffic.more(20)
        child.send_signal(signal.SIGCONT)
        until(lambda: metric(node, age) < 2)
    assert not traffic.failures


def test_one_that_says_nothing_is_replaced(gateway_process: Start, mock_process: Mock) -> None:
    node = gateway_process(settings(endpoint(mock_process("--model", "llama"), "one")))
    until(lambda: states(node) == {"one": "Running"})
    (child,) = watchers(node)
    child.send_signal(signal.SIGSTOP)
    until(lambda: [other for other in watchers(node) if other.pid != child.pid], 40)
    until(lambda: states(node) == {"one": "Running"})
    assert any("has said nothing" in line for line in node.lines)


def test_an_endpoint_that_flaps_stays_out_longer_and_longer(gateway_process: Start, mock_process: Mock) -> None:
    good, flapping = (mock_process("--model", "llama", "--tokens", "2") for _ in range(2))
    node = gateway_process(settings(endpoint(good, "good"), endpoint(flapping, "flapping")))
    until(lambda: states(node) == {"good": "Running", "flapping": "Running"})
    seen = []
    with Traffic(node, rate=40) as traffic:
        for number in range(8):
            flapping.script({"status": 503}, path="/v1/models") if number % 2 == 0 else flapping.reset()
            end = time.monotonic() + 2
            while time.monotonic() < end:
                seen.append(states(node)["flapping"])
                time.sleep(0.05)
    assert not traffic.failures
    changes = sum(before != after for before, after in itertools.pairwise(seen))
    assert changes <= 3  # out, in, and then out for good; without memory there would be seven
    assert states(node)["flapping"] == "Failed"


def test_probes_are_less_than_a_hundredth_of_traffic(gateway_process: Start, mock_process: Mock) -> None:
    servers = [mock_process("--model", "llama", "--tokens", "2") for _ in range(2)]
    node = gateway_process(
        settings(*(endpoint(server, f"e{number}") for number, server in enumerate(servers))) | {"watch": {"probe": {}}}
    )
    until(lambda: set(states(node).values()) == {"Running"})
    probes = metric(node, "fastpath_watch_questions_total")
    began = time.monotonic()
    with Traffic(node, tasks=8, rate=100) as traffic:
        time.sleep(8)
        spent = time.monotonic() - began
    asked = metric(node, "fastpath_watch_questions_total") - probes
    assert not traffic.failures
    assert asked <= 2 * (spent / 9 + 1)  # one in nine to eleven seconds each
    # In the long run of the same rates: 2 endpoints every 10 s against this many requests.
    assert 0.01 * len(traffic.statuses) / spent >= 2 / 10


def test_nothing_is_started_where_nothing_is_watched_and_a_reload_starts_and_ends_it(
    gateway_process: Start, mock_process: Mock
) -> None:
    server = mock_process("--model", "llama")
    node = gateway_process(settings(endpoint(server, "one")) | {"watch": {"enabled": False, "probe": {}}})
    assert not watchers(node)
    assert json.loads(node.admin("/endpoints")) == []
    assert "\nfastpath_watch_up " not in node.admin("/metrics")
    text = node.path.read_text()
    node.path.write_text(text.replace("enabled: false", "enabled: true"))
    node.process.send_signal(signal.SIGHUP)
    until(lambda: watchers(node) and states(node) == {"one": "Running"})
    node.path.write_text(text)
    node.process.send_signal(signal.SIGHUP)
    until(lambda: not watchers(node))
    assert metric(node, "fastpath_watch_restarts_total") == 0


def test_it_ends_with_its_supervisor(gateway_process: Start, mock_process: Mock) -> None:
    node = gateway_process(settings(endpoint(mock_process("--model", "llama"), "one")))
    (child,) = until(lambda: watchers(node))
    os.kill(node.process.pid, signal.SIGKILL)
    child.wait(PATIENCE)


def test_the_watch_process_sees_no_secret_but_those_it_sends(gateway_process: Start, mock_process: Mock) -> None:
    node = gateway_process(
        settings(endpoint(mock_process("--model", "llama"), "one")), environ={"SOME_SECRET": "canary-secret"}
    )
    (child,) = until(lambda: watchers(node))
    assert not {"UPSTREAM_KEY", "SOME_SECRET"} & set(child.environ())
    assert "sk-" not in " ".join(child.cmdline())


def test_it_is_small(gateway_process: Start, mock_process: Mock) -> None:
    node = gateway_process(settings(endpoint(mock_process("--model", "llama"), "one", load={"engine": "vllm"})))
    until(lambda: states(node) == {"one": "Running"})
    (child,) = watchers(node)
    assert child.memory_full_info().uss < 40 << 20
