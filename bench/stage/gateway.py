"""Fastpath as a measurement starts it: bench/everything-on.yaml with real keys, endpoints, a door and workers.

Owns the making of that file. Does not own the process (`programs`). What is measured is a `Subject`, gateway or peer.
"""

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from bench.stage import PROXY_CPU
from bench.stage.callers import Callers
from bench.stage.programs import HOME, PATIENCE, BenchError, Programs
from loadtest.ports import free_ports

CONFIG = HOME / "bench" / "everything-on.yaml"
FILE_KEYS = 10_000
"""More keys than this do not fit a settings file (4 MiB): they are handed to the supervisor as an embedder would."""
Door = Literal["native", "granian"]
DOORS: tuple[Door, ...] = ("native", "granian")


class Subject(msgspec.Struct, frozen=True):
    """A running proxy: the root of its processes and its port. `admin`, `log` and `workers` are Fastpath's."""

    name: str
    pid: int
    port: int
    admin: int = 0
    log: Path | None = None
    workers: int = 1


class Plan(msgspec.Struct, frozen=True):
    """What differs from measurement to measurement. `urls` are the endpoints', with /v1; `ca` signs the https ones."""

    urls: tuple[str, ...]
    door: Door = "native"
    workers: int = 1
    ca: Path | None = None


def start_gateway(programs: Programs, plan: Plan, callers: Callers, name: str, cpu: int = PROXY_CPU) -> Subject:
    """Starts it and waits until all workers take requests. Raises BenchError when it does not start."""
    port, admin = free_ports(2)
    log = programs.folder / f"{name}.access.log"
    tree = fill(plan, callers, log)
    tree["listen"] |= {"port": port, "admin_port": admin}
    path = programs.write(f"{name}.yaml", json.dumps(tree, indent=1))  # JSON is YAML
    module = ["fastpath.cli", "serve", "--config"] if len(callers.hashes) <= FILE_KEYS else ["bench.stage.launch"]
    pid = programs.start(cpu, name, [sys.executable, "-P", "-m", *module, str(path)], port)
    await_ready(admin, name)
    return Subject(name, pid, port, admin, log, plan.workers)


def await_ready(admin: int, name: str) -> None:
    """Returns once all workers take requests; the port is open before that. Raises BenchError after a while."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5) as answer:
                answer.read()
                return
        except OSError:  # not listening yet, or 503
            time.sleep(0.05)
    raise BenchError(f"{name} does not get ready")


def fill(plan: Plan, callers: Callers, log: Path) -> dict[str, Any]:
    """The settings: everything-on.yaml with a key per caller and an endpoint per URL made after its only one."""
    tree: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    (key,), (model,) = tree["keys"], tree["models"]
    (endpoint,) = model["endpoints"]
    authority = {"ca_file": str(plan.ca)} if plan.ca else {}
    tree["keys"] = [key | {"name": f"caller-{n}", "hash": text} for n, text in enumerate(callers.hashes)]
    model["endpoints"] = [endpoint | authority | {"url": url} for url in plan.urls]
    tree["listen"]["door"] = plan.door
    return tree | {"workers": plan.workers, "state_dir": str(callers.state), "log": {"access": str(log)}}
