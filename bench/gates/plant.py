"""`python -m bench.gates.plant FILE`: the gateway of bench.stage.launch, made slow on purpose.

Every record burns CPU before it is written: more for a stream, so that its chunks got dearer too. The product is not
touched: workers build the same app around another record writer.
"""

import sys
import time
from pathlib import Path
from typing import Protocol

import msgspec

from bench.stage.programs import Programs
from fastpath.app import App
from fastpath.app import build as build_app
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.lag import Tick
from fastpath.observe.metrics import Metrics
from fastpath.process.supervisor import run
from fastpath.record import DecisionRecord
from fastpath.settings import Settings
from scheduler.clock import Clock

REQUEST, STREAM = 40e-6, 8e-4
"""Seconds of CPU burnt per request and per stream: about what haproxy and nginx take for one themselves. More at a time
would hold up other streams until their chunks merge, which is void."""
SERVE = ("-m", "fastpath.cli", "serve", "--config")


class Records(Protocol):
    """Takes finished records."""

    def put(self, record: DecisionRecord) -> None: ...


class SlowRecords:
    """Burns the CPU that a record is worth, then hands it on."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, record: DecisionRecord) -> None:
        end = time.thread_time() + (STREAM if record.stream else REQUEST)
        while time.thread_time() < end:
            pass
        self._records.put(record)


def build(
    settings: Settings, metrics: Metrics, records: Records, budget: MemoryBudget, tick: Tick, clock: Clock
) -> App:
    """What a slow worker calls."""
    return build_app(settings, metrics, SlowRecords(records), budget, tick, clock)


class SlowPrograms(Programs):
    """Starts this module wherever a gateway is asked for."""

    def start(
        self,
        cpu: int,
        name: str,
        command: list[str],
        port: int,
        environ: dict[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> int:
        if set(SERVE) <= set(command):
            command = [*command[: command.index("-m")], "-m", "bench.gates.plant", command[-1]]
        return super().start(cpu, name, command, port, environ, host)


def main(path: Path) -> int:
    """Serves until SIGTERM."""
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    return run(lambda: settings, app="bench.gates.plant:build")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
