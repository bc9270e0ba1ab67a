"""Five thousand requests with random cancels on each door of a real gateway: nothing is left of them.

Afterwards, in the gateway's processes: no open upstream socket, nothing in flight, memory flat; and in the logs of
driver, gateway and mock: one record each, no body changed, no answer lost or altered (invariants J2, J7, J10).
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtest.checker import errors, records, responses
from loadtest.checker.history import AccessLine, ClientLine, History, MockLine, read_lines
from loadtest.driver import Load, run
from scheduler.clock import SystemClock

REQUESTS = 5_000
WARM_UP = 1_500
CONCURRENCY = 32
MIB = 1 << 20
PATIENCE = 15.0


async def test_thousands_of_requests_with_random_cancels(
    mock_process: Any, gateway_process: Any, tmp_path: Path
) -> None:
    log = tmp_path / "mock.jsonl"
    pace = ("--ttft", "0.005", "--rate", "1000")
    mock = mock_process("--model", "llama", *pace, "--log", str(log))
    node = gateway_process(settings(mock.url))
    workers = node.children()
    warm = await drive(node, WARM_UP, seed=1)
    wait(lambda: not sockets_to(workers, mock.url))
    before = {worker.pid: worker.memory_info().rss for worker in workers}
    clients = warm + await drive(node, REQUESTS, seed=2)
    wait(lambda: not json.loads(node.admin("/debug/requests")))
    wait(lambda: not sockets_to(workers, mock.url))
    assert in_flight(node.admin("/metrics")) == 0
    assert node.children() == workers, "no worker was replaced"
    for worker in workers:
        assert worker.memory_info().rss - before[worker.pid] < 8 * MIB
    check_logs(clients, node, log)


def settings(url: str) -> dict[str, Any]:
    endpoint = {"url": url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    return {
        "models": [{"name": "llama", "endpoints": [endpoint]}],
        "timeouts": {"pool_idle": 0.5},
        "workers": 2,
    }


async def drive(node: Any, count: int, seed: int) -> list[ClientLine]:
    load = Load(
        target=node.url,
        key=node.key,
        n=count,
        concurrency=CONCURRENCY,
        seed=seed,
        cancel_ratio=0.5,
        cancel_wait_s=0.03,
        stream_ratio=0.6,
    )
    return await run(load, SystemClock())


def wait(true: Any) -> None:
    """Until it holds, in other processes that tell no event."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.05)


def sockets_to(workers: list[psutil.Process], url: str) -> list[Any]:
    """The workers' connections to the model server."""
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    open_now = (connection for worker in workers for connection in worker.net_connections("tcp"))
    return [connection for connection in open_now if connection.raddr and connection.raddr.port == port]


def in_flight(metrics: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith("ai_inference_in_flight{")]
    assert lines
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def check_logs(clients: list[ClientLine], node: Any, log: Path) -> None:
    """Every kind of departure happened, and the three logs agree."""
    phases = {line.phase for line in clients}
    assert phases == {None, "sent", "waiting", "streaming", "buffered"}
    assert {line.outcome for line in clients} == {"complete", "cancelled"}
    wait(lambda: len(node.log.read_text().splitlines()) >= sum(line.status is not None for line in clients))
    history = History(clients=clients, access=read_lines(node.log, AccessLine), mock=read_lines(log, MockLine))
    assert records.check(history) == []
    assert responses.check(history) == []
    assert errors.check(history) == []
    sent = {line.body_sha256 for line in clients}
    whole = [line for line in history.mock if line.received is not None]
    assert len(whole) > len(clients) / 2
    assert {line.sha256 for line in whole} <= sent
    assert {line.status for line in history.access} == {200, 499}


@pytest.mark.alone
async def test_the_loop_is_free_again(mock_process: Any, gateway_process: Any) -> None:
    """After a burst of cancels the next request is answered as fast as the first."""
    mock = mock_process("--model", "llama")
    node = gateway_process(settings(mock.url))
    await drive(node, 200, seed=3)
    calm = Load(target=node.url, key=node.key, n=20, concurrency=1, seed=4, stream_ratio=0.5)
    async with asyncio.timeout(30):
        lines = await run(calm, SystemClock())
    assert {line.outcome for line in lines} == {"complete"}
    assert sorted(line.ended - line.started for line in lines)[10] < 0.1
