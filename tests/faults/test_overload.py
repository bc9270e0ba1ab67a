"""F41: more requests than a worker can serve, each on a connection of its own.

Judged by counts: everybody gets a whole answer, 200 or 503 `overloaded`, and leaves one record with its outcome; while
there is too much the worker goes on serving; when it is over nobody is turned away. How long that takes is measured by
bench/overload. The native door's: Granian accepts for itself, and callers wait there.
"""

import asyncio
import collections
import warnings
from pathlib import Path
from typing import Any

import pytest

from bench.overload.client import Arrivals, Churn, Report
from bench.stage.callers import long_body, write_load
from loadtest.ports import free_ports
from loadtest.rig.node import metric, port_of

pytestmark = pytest.mark.alone

ROUNDS = 5
#: In the closed loop that says what the worker can serve: too few for a queue that anybody would mind.
CALLERS = 16


class Stage:
    """A native gateway, and a client that is its model server as well."""

    def __init__(self, gateway_process: Any, folder: Path) -> None:
        (upstream,) = free_ports(1)
        endpoint = {"url": f"http://127.0.0.1:{upstream}/v1", "api_key": "none", "tier": "L1"}
        models = [{"name": "llama", "endpoints": [endpoint]}]
        # Every line is to be there, however slow the disk: none is dropped to save memory.
        self.node = gateway_process({"models": models, "listen": {"door": "native"}, "log": {"ring": 1 << 20}})
        load = write_load(folder, "load", [self.node.key], long_body(8_000))
        self._client = Churn(folder, load, upstream)

    async def load(self, arrivals: Arrivals) -> Report:
        return await asyncio.to_thread(self._client.run, port_of(self.node), arrivals)


@pytest.fixture
def stage(launch: Any, tmp_path: Path) -> Stage:
    return Stage(launch.gateway, tmp_path)


def count(report: Report, name: str) -> int:
    """Of all phases."""
    return sum(getattr(phase, name) for phase in (report.onset, report.steady, report.after))


async def test_F41_everybody_is_answered_and_recorded_and_it_ends(stage: Stage) -> None:
    node, statuses = stage.node, collections.Counter[int]()
    for times in range(2, 2 + ROUNDS):
        peak = await stage.load(Arrivals(0, 1.0, CALLERS))
        assert (count(peak, "refused"), count(peak, "broken")) == (0, 0)
        rate = peak.steady.goodput
        much = await stage.load(Arrivals(times * rate, 2.0, after=rate / 4, quick_ms=1000))
        for report in (peak, much):
            statuses[200] += count(report, "ok")
            statuses[503] += count(report, "refused")
            assert count(report, "unanswered") == 0
        assert count(much, "broken") == 0
        assert much.after.ok > 0.9 * (much.after.offered - much.after.unsent)
        assert much.steady.goodput > rate / 5
        if much.steady.refused:
            break
        assert much.steady.admitted.p99 < 500, "nobody was turned away from a queue that everybody minds"
    else:
        warnings.warn("the client could not make it an overload here", stacklevel=1)
    lines = await asyncio.to_thread(node.access_lines, sum(statuses.values()))
    assert collections.Counter(line["status"] for line in lines) == statuses
    assert len({line["id"] for line in lines}) == len(lines)
    refused = [line for line in lines if line["status"] == 503]
    assert {(line["outcome"], line["error"], line["client"][:4]) for line in refused} <= {
        ("refused", "overloaded", "127.")
    }
    assert metric(node, "fastpath_worker_restarts_total") == 0


async def test_F41_nobody_is_turned_away_below_it(stage: Stage) -> None:
    peak = (await stage.load(Arrivals(0, 1.0, CALLERS))).steady.goodput
    half = await stage.load(Arrivals(peak / 2, 2.0))
    assert (count(half, "refused"), count(half, "broken"), count(half, "unanswered")) == (0, 0, 0)
    assert count(half, "ok") == count(half, "offered") - count(half, "unsent")
