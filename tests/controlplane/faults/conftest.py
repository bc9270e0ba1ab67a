"""Whole nodes whose database, control process or workers are taken away, and the callers that must not notice."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from loadtest.postgres import Cluster
from tests.conftest import ModelServer
from tests.controlplane.conftest import Caller
from tests.controlplane.test_with_serve import ControlledNode, make_key, until

#: In full the sizes of the acceptance criteria (`make ledger-targets`); else what a quick run of all tests can bear.
FULL = bool(os.environ.get("FASTPATH_FULL"))
PRICE = {"currency": "USD", "input": 3.0, "output": 15.0}
PATIENCE = 60.0


class PricedNode(ControlledNode):
    """A node whose only model has a price; keys come from its API."""

    def __init__(self, folder: Path, upstream: str, **settings: Any) -> None:
        model = {"name": "llama", "endpoints": [{"url": upstream, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}]}
        super().__init__(folder, upstream, **({"models": [{**model, "price": PRICE}]} | settings))

    def workers(self) -> list[psutil.Process]:
        """The workers that live."""
        return [child for child in self.children() if _runs(child, "fastpath.process.worker")]

    def booked(self, api: Caller) -> int:
        """Requests in the ledger, this month."""
        return sum(line["requests"] for line in api.get("/usage")["data"])

    def ready_once(self, key: str) -> None:
        """Until a key works in every worker."""
        until(lambda: all(self.ask(key) == 200 for _ in range(4)), "the key never worked")


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline()
    except psutil.Error:
        return False


class Asker:
    """One caller on a kept connection, which shows whatever key it is told to."""

    def __init__(self, node: ControlledNode) -> None:
        self._connection = HTTPConnection(node.url.split("/")[2], timeout=PATIENCE)
        self._body = json.dumps({"model": "llama", "messages": [{"role": "user", "content": "hi"}]})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, key: str) -> int:
        """The status; 0 where the connection broke, and then the next request has a new one."""
        head = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        try:
            self._connection.request("POST", "/v1/chat/completions", self._body, head)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            return 0
        return answer.status


class Crowd:
    """Callers on kept connections, each with one request after the other, until the crowd is told to go home."""

    def __init__(self, node: ControlledNode, key: str, size: int = 3, rest: float = 0.01) -> None:
        self.answers: list[int] = []
        """Statuses; 0 where the connection broke."""
        self._node = node
        self._key = key
        self._rest = rest
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Ends, after the answers that are on their way."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait(self, more: int) -> None:
        """Until so many more answers have come."""
        wanted = len(self.answers) + more
        until(lambda: len(self.answers) >= wanted, f"{len(self.answers)} of {wanted} answers", PATIENCE)

    def _call(self) -> None:
        with Asker(self._node) as asker:
            while not self._over.is_set():
                self.answers.append(asker.ask(self._key))
                time.sleep(self._rest)


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """While a process stands still. The signal alone says only that it soon will."""
    process.suspend()
    try:
        until(lambda: process.status() == psutil.STATUS_STOPPED, "it does not stand still", PATIENCE)
        yield
    finally:
        process.resume()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that a test may stop, lock and kill."""
    with Cluster() as running:
        yield running


@pytest.fixture
def priced(tmp_path: Path, model_server: ModelServer) -> Iterator[Callable[..., PricedNode]]:
    """Starts nodes on one state folder: `priced(database=URL, **settings)`."""
    started: list[PricedNode] = []

    def start(database: str | None = None, upstream: str = "", **settings: Any) -> PricedNode:
        control = {"port": 0} | ({} if database is None else {"database": database})
        node = PricedNode(tmp_path / "node", upstream or model_server.url, control=control, **settings)
        started.append(node)
        return node

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


__all__ = ["FULL", "PATIENCE", "Asker", "Crowd", "PricedNode", "frozen", "make_key", "until"]
