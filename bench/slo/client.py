"""The open-loop client in C (poisson.c): compiled for the run, started on the load's CPU, its report decoded."""

import secrets
import subprocess
from pathlib import Path

import msgspec

from bench.load.client_program import compile_client
from bench.load.requests import new_seed
from bench.stage import LOAD_CPU
from bench.stage.callers import Load
from bench.stage.programs import Void

SOURCE = Path(__file__).parent / "poisson.c"


class Distribution(msgspec.Struct, frozen=True):
    """Milliseconds; bucketed, error under 0.8 %."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    p95: float = 0.0


class Answered(msgspec.Struct, frozen=True):
    """What became of the requests that were due after the warm-up.

    `latency`: due to last byte. `first_event`: due to first SSE event. `gap`: between events of a stream. `late`: due
    to written, which is the client's own queue.
    """

    offered: int
    ok: int
    refused: int
    broken: int
    unfinished: int
    events: int
    latency: Distribution
    first_event: Distribution
    gap: Distribution
    late: Distribution


class Arrivals(msgspec.Struct, frozen=True):
    """Requests a second, for how long, over at most how many connections; `churn`: requests on each, 0 for no end."""

    rate: float
    seconds: float
    warm_up: float = 1.0
    connections: int = 512
    pace: str = "poisson"
    churn: int = 0


class OpenLoop:
    """The compiled client. Raises BenchError when there is no compiler."""

    def __init__(self, folder: Path) -> None:
        self._program = compile_client(SOURCE, folder)

    def command(self, port: int, load: Load, arrivals: Arrivals) -> list[str]:
        """The command line, for those who start it beside something else."""
        flow = [f"{number:g}" for number in (arrivals.rate, arrivals.seconds, arrivals.warm_up)]
        how = [str(arrivals.connections), arrivals.pace, str(arrivals.churn), str(secrets.randbelow(2**32))]
        where = [str(port), str(load.heads), str(load.body), new_seed()]
        return ["taskset", "-c", str(LOAD_CPU), str(self._program), *where, *flow, *how]

    def run(self, port: int, load: Load, arrivals: Arrivals) -> Answered:
        """Loads the port and reports. Raises Void when the client fails."""
        done = subprocess.run(self.command(port, load, arrivals), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Void(f"the client ended: {done.stderr.strip()[-500:]}")
        return decode(done.stdout)


def decode(text: str) -> Answered:
    """The client's report."""
    return msgspec.json.decode(text, type=Answered)
