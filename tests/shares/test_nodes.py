"""Two whole nodes before one real Redis, which is killed, stopped and emptied.

FASTPATH_REPETITIONS says how often the race for a budget is run (5): `make shared` runs it 100 times.
"""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token
from loadtest.ports import free_port
from tests.conftest import GatewayNode, ModelServer
from tests.shares.server import Server

PATIENCE = 60.0
REPETITIONS = int(os.environ.get("FASTPATH_REPETITIONS", "5"))


class SharedNode(GatewayNode):
    """One of several. `tokens`: of its keys, which are called alike on all of them."""

    def __init__(self, folder: Path, upstream: str, redis: str, keys: list[dict[str, Any]], **settings: Any) -> None:
        self.tokens = [new_token().reveal() for _ in keys]
        self._keys = keys
        folder.mkdir(exist_ok=True)
        model = {"name": "llama", "endpoints": [{"url": upstream, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}]}
        if any("budgets" in key for key in keys):
            model["price"] = {"request": 1.0}
        shared = {"redis": redis, "node": folder.name}
        super().__init__(folder, {"models": [model], "shared": shared, **settings})

    def answer(self, number: int = 0, client: httpx.Client | None = None) -> httpx.Response:
        """Of a chat completion, asked for with one of its keys."""
        body = {"model": "llama", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {self.tokens[number]}"}
        post = client.post if client is not None else httpx.post
        return post(f"{self.url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)

    def part(self, kind: str) -> float:
        """The part of what it shares that it says it works by."""
        found = re.search(rf'^fastpath_shared_part{{kind="{kind}"}} (\S+)', self.admin("/metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def ready(self) -> dict[str, Any]:
        """What /readyz says."""
        said: dict[str, Any] = json.loads(self.admin("/readyz"))
        return said

    def _complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        hasher = KeyHasher(make_pepper(self.folder / "state"))
        pairs = enumerate(zip(self._keys, self.tokens, strict=True))
        keys = [{"name": f"k{n}", "hash": hasher.hash_text(token), **key} for n, (key, token) in pairs]
        return {**super()._complete(settings), "keys": keys}


def is_turned_away(answer: httpx.Response) -> bool:
    """Whether more came than could be served: it may ask again."""
    return answer.status_code == 503 and answer.json()["error"]["code"] == "overloaded"


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    """Waits for what no event tells of; how long that was."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.05)
    return time.monotonic() - began


def flood(node: SharedNode, seconds: float) -> list[tuple[float, int, str]]:
    """Asks one request after the other: when since the begin, status and x-fastpath-degraded of each."""
    found, began = [], time.monotonic()
    with httpx.Client() as client:
        while (at := time.monotonic() - began) < seconds:
            answer = node.answer(client=client)
            found.append((at, answer.status_code, answer.headers.get("x-fastpath-degraded", "")))
    return found


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, model_server: ModelServer, redis: Server) -> Iterator[Callable[..., SharedNode]]:
    """`start(name, *keys)`: a node with these keys. The same name again is the same node."""
    with ExitStack() as stack:
        yield lambda name, *keys, **more: stack.enter_context(
            SharedNode(tmp_path / name, model_server.url, more.pop("redis", redis.url), list(keys), **more)
        )


def test_sixty_four_first_requests_on_a_budget_for_ten(start: Callable[..., SharedNode]) -> None:
    keys = [{"budgets": [{"amount": 10}]} for _ in range(REPETITIONS)]
    nodes = [start(name, *keys, workers=1 + (name == "a")) for name in ("a", "b")]
    admitted: list[int] = []
    for number in range(REPETITIONS):  # the first without waiting for a part
        barrier = threading.Barrier(64)

        def ask(caller: int, number: int = number, barrier: threading.Barrier = barrier) -> httpx.Response:
            barrier.wait()
            while is_turned_away(answer := nodes[caller % 2].answer(number)):  # by a busy machine, before it is counted
                time.sleep(0.05)
            return answer

        with ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(ask, range(64)))
        assert {answer.status_code for answer in answers} <= {200, 429}, {answer.text for answer in answers}
        admitted.append([answer.status_code for answer in answers].count(200))
        assert admitted[-1] <= 10
    for number in range(min(3, REPETITIONS)):  # what is left finds its way to who asks, and no more than that

        def spent(number: int = number) -> bool:
            answers = [node.answer(number) for node in nodes]
            admitted[number] += sum(answer.status_code == 200 for answer in answers)
            return all(answer.headers.get("x-should-retry") == "false" for answer in answers)

        until(spent, "the budget is never spent")
        assert admitted[number] == 10


def test_no_worker_learns_where_redis_is(start: Callable[..., SharedNode], redis: Server) -> None:
    node = start("a", {}, redis=f"unix://:canary-of-redis@{redis.path}")
    for child in node.children():
        assert "canary-of-redis" not in " ".join((*child.cmdline(), *child.environ().values()))
    assert "canary-of-redis" not in "".join((*node.lines, node.admin("/metrics")))


@pytest.mark.alone
def test_f20_f21_a_dead_and_a_frozen_redis_cost_no_request_anything(
    start: Callable[..., SharedNode], redis: Server
) -> None:
    key = {"limits": [{"count": "requests", "most": 20, "per": "second"}], "budgets": [{"amount": 1_000}]}
    nodes = [start(name, key) for name in ("a", "b")]
    until(lambda: all(node.part("budget") > 0.4 for node in nodes), "no part came")
    assert nodes[0].ready() == {"status": "ready"}
    assert nodes[0].answer().headers.get("x-fastpath-degraded") is None

    redis.signal(signal.SIGSTOP)
    until(lambda: nodes[0].answer().headers.get("x-fastpath-degraded") == "ratelimit", "nobody says so")
    assert nodes[0].ready()["status"] == "degraded"
    frozen = flood(nodes[0], 4.0)
    assert {status for _, status, _ in frozen} <= {200, 429}
    assert {header for _, _, header in frozen} == {"ratelimit"}
    assert sum(status == 200 for at, status, _ in frozen) <= 20 + 4 * 20  # never more than the whole limit
    redis.signal(signal.SIGCONT)
    until(lambda: nodes[0].ready() == {"status": "ready"}, "it did not rejoin")

    redis.kill()
    until(lambda: all(node.ready()["status"] == "degraded" for node in nodes), "nobody says so")
    with ThreadPoolExecutor(2) as pool:
        both = [one for found in pool.map(lambda node: flood(node, 8.0), nodes) for one in found]
    admitted = sum(status == 200 for at, status, _ in both if at > 5.0)
    assert admitted <= 3 * 20 + 20 + 2  # its limit and a burst, when each works by its fair part
    redis.start()
    until(lambda: all(node.ready() == {"status": "ready"} for node in nodes), "they did not rejoin")
    until(lambda: all(node.answer().status_code == 200 for node in nodes), "they do not serve")


def test_f22_an_emptied_redis_gives_no_budget_twice(start: Callable[..., SharedNode], redis: Server) -> None:
    key = {"budgets": [{"amount": 10}]}
    nodes = [start(name, key) for name in ("a", "b")]
    until(lambda: all(node.part("budget") > 0.4 for node in nodes), "no part came")
    admitted = sum(node.answer().status_code == 200 for node in nodes for _ in range(3))
    assert 4 <= admitted <= 6
    for again in range(4):
        if again == 2:
            redis.kill()
            redis.start()
        else:
            assert redis.say("FLUSHALL") == b"+OK"
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            admitted += sum(node.answer().status_code == 200 for node in nodes)
            time.sleep(0.1)
    assert admitted == 10


def test_a_node_that_starts_without_redis_spends_no_budget_anew(
    start: Callable[..., SharedNode], redis: Server
) -> None:
    key = {"budgets": [{"amount": 4}], "limits": [{"count": "requests", "most": 30, "per": "minute"}]}
    node = start("a", key)
    until(lambda: node.part("budget") == 1.0, "no part came")
    assert [node.answer().status_code for _ in range(3)] == [200] * 3
    redis.kill()
    left = node.children()
    node.process.kill()
    for child in left:
        child.kill()
    node.end()  # its arena has no name, so it is gone as with the machine
    again = start("a", key)
    assert [again.answer().status_code for _ in range(2)] == [429, 429]
    redis.start()
    until(lambda: again.ready() == {"status": "ready"}, "it did not rejoin")
    until(lambda: again.part("budget") == 1.0, "it did not say what it holds")
    time.sleep(1)  # and is given nothing
    assert [again.answer().status_code for _ in range(2)] == [429, 429]


def test_a_successor_goes_on_with_what_its_node_holds(start: Callable[..., SharedNode]) -> None:
    port = free_port()  # of its own, so that the arena has a name
    node = start("a", {"budgets": [{"amount": 10}]}, listen={"port": port})
    until(lambda: node.part("budget") == 1.0, "no part came")
    assert [node.answer().status_code for _ in range(4)] == [200] * 4
    node.process.send_signal(signal.SIGUSR2)
    successor = int(node.line("handed over to process").split("process")[1].split(";")[0])
    try:
        assert node.process.wait(PATIENCE) == 0
        until(lambda: node.ready() == {"status": "ready"}, "the successor does not speak for the node")
        assert [node.answer().status_code for _ in range(8)] == [200] * 6 + [429] * 2
    finally:
        os.kill(successor, signal.SIGTERM)
        until(lambda: not psutil.pid_exists(successor), "the successor does not end")


def test_a_reload_changes_what_is_shared(start: Callable[..., SharedNode]) -> None:
    node = start("a", {"budgets": [{"amount": 2}]})
    until(lambda: node.part("budget") == 1.0, "no part came")
    assert [node.answer().status_code for _ in range(3)] == [200, 200, 429]
    node.path.write_text(node.path.read_text().replace("amount: 2", "amount: 5"))
    node.process.send_signal(signal.SIGHUP)
    node.line("settings reloaded")
    admitted = 0

    def more() -> bool:
        nonlocal admitted
        admitted += node.answer().status_code == 200
        return admitted == 3

    until(more, "what the budget has more is not given out")
    time.sleep(1)
    assert node.answer().status_code == 429
