"""Fastpath with all that money is about: a control process, prices, budgets and limits over everything-on.yaml.

Owns that gateway and what its control process says of the outbox. Does not measure. Not thread-safe.
"""

import json
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.stage import PROXY_CPU
from bench.stage.callers import Callers
from bench.stage.gateway import Plan, Subject, await_ready, fill
from bench.stage.proc import family
from bench.stage.programs import BenchError, Programs, Void
from bench.stage.upstreams import Upstream
from controlplane.bootstrap import Ask, ask_control
from loadtest.ports import free_ports

BUDGET = {"name": "beyond-reach", "amount": 1_000_000_000, "period": "month"}
PRICE = {"currency": "USD", "input": 0.5, "output": 1.5}
EMPTY_WITHIN = 120.0
"""Seconds that settling may take after the last request."""
LOOK_S = 0.1
WORKER = b"fastpath.process.worker"


class Backlog(msgspec.Struct, frozen=True):
    """What GET /admin/v1/settlement says: bytes and seconds that the books are behind, records settled so far."""

    backlog_bytes: int
    segment_bytes: int
    lag_seconds: float
    records: int
    settled: int
    quarantined: int
    lost: int
    problem: str


class Tenant(msgspec.Struct, frozen=True):
    """Who pays: callers in turn are one's and the next one's. limits: as in the settings."""

    name: str
    limits: Sequence[Mapping[str, Any]] = ()


class House:
    """One gateway that keeps books, and its admin API."""

    def __init__(
        self,
        programs: Programs,
        upstream: Upstream,
        callers: Callers,
        tenants: Sequence[Tenant],
        name: str = "books",
        redis: str = "",
    ) -> None:
        """Starts it. redis: URL of the one that it shares limits and budgets through. Raises BenchError when it does
        not start."""
        port, admin, control = free_ports(3)
        log = programs.folder / f"{name}.access.log"
        tree = fill(Plan(upstream.urls[:1]), callers, log)
        tree["listen"] |= {"port": port, "admin_port": admin}
        tree["control"] = {"port": control}
        tree["models"][0]["price"] = PRICE
        tree["tenants"] = [{"name": one.name, "budgets": [BUDGET], "limits": list(one.limits)} for one in tenants]
        if redis:
            tree["shared"] = {"redis": redis}
        tree["keys"] = [key | {"tenant": tenants[n % len(tenants)].name} for n, key in enumerate(tree["keys"])]
        path = programs.write(f"{name}.yaml", json.dumps(tree, indent=1))  # JSON is YAML
        command = [sys.executable, "-P", "-m", "fastpath.cli", "serve", "--config", str(path)]
        pid = programs.start(PROXY_CPU, name, command, port)
        await_ready(admin, name)
        self.subject = Subject(name, pid, port, admin, log)
        self._url = f"http://127.0.0.1:{control}/admin/v1/settlement"
        self._key = _first_admin(callers.state)

    def workers(self) -> list[int]:
        """Pids of the workers: the others are the supervisor and the control process."""
        return [pid for pid in family(self.subject.pid) if WORKER in _command(pid)]

    def status(self) -> str:
        """What /readyz says: ready, or degraded."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.subject.admin}/readyz", timeout=10) as answer:
            return str(json.load(answer)["status"])

    def backlog(self) -> Backlog:
        """As of now."""
        request = urllib.request.Request(self._url, headers={"Authorization": f"Bearer {self._key}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return msgspec.json.decode(answer.read(), type=Backlog)

    def wait_empty(self, settled: int, within: float = EMPTY_WITHIN) -> Backlog:
        """Once at least so many requests are in the books and nothing waits. Raises Void after a while."""
        end = time.monotonic() + within
        while True:
            found = self.backlog()
            if found.settled >= settled and not found.backlog_bytes:
                return found
            if time.monotonic() > end:
                raise Void(f"{settled} requests were to be settled within {within:g} s: {found}")
            time.sleep(LOOK_S)


def _first_admin(state: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            answer = ask_control(state, Ask())
        except OSError:  # its socket is not there yet
            time.sleep(LOOK_S)
            continue
        if answer.token:
            return answer.token
        raise BenchError(f"there is no admin to be had: {answer.problem}")
    raise BenchError("the control process does not answer")


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
