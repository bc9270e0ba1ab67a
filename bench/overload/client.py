"""The client of overloads in C (churn.c), model server included: compiled for the run, its report decoded."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.load.client_program import compile_client
from bench.load.requests import new_seed
from bench.slo.client import Distribution
from bench.stage import LOAD_CPU
from bench.stage.callers import BODIES, Load
from bench.stage.programs import Void

SOURCE = Path(__file__).parent / "churn.c"
PATIENCE = 60.0


class Phase(msgspec.Struct, frozen=True):
    """What became of the requests of one phase. `admitted` and `turned_away`: ms from connect to last byte of answers
    200 and 503; `late`: the client's own lateness; `unsent`: arrivals that it could not make."""

    seconds: float
    offered: int
    unsent: int
    ok: int
    refused: int
    broken: int
    unanswered: int
    admitted: Distribution
    turned_away: Distribution
    late: Distribution

    @property
    def sent(self) -> float:
        """A second."""
        return (self.offered - self.unsent) / self.seconds

    @property
    def goodput(self) -> float:
        """Answered 200, a second."""
        return self.ok / self.seconds


class Report(msgspec.Struct, frozen=True):
    """`onset`: the first second; `after`: the quarter load that follows; `recovered_s`: into that, -1 when it never
    did."""

    onset: Phase
    steady: Phase
    after: Phase
    recovered_s: float


class Arrivals(msgspec.Struct, frozen=True):
    """Requests a second, a connection each; 0: `callers` in a closed loop. `after`: the rate for as long again, 0 for
    none; `quick_ms`: what an answer may take then to be a sign of recovery."""

    rate: float
    seconds: float
    callers: int = 16_000
    after: float = 0.0
    quick_ms: float = 0.0
    warm_up: float = 1.0


class Churn:
    """The compiled client, which is the model server at `upstream` while it runs.

    Raises BenchError without a compiler.
    """

    def __init__(self, folder: Path, load: Load, upstream: int) -> None:
        self._program, self._answer = compile_client(SOURCE, folder), folder / "answer"
        self._load, self._upstream = load, upstream
        body = json.dumps(json.loads((BODIES / "plain.json").read_bytes())).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._answer.write_bytes(head + body)

    def run(self, port: int, arrivals: Arrivals) -> Report:
        """Loads the port. Raises Void when the client fails."""
        with self.running(port, arrivals) as process:
            out, _ = process.communicate(timeout=PATIENCE)
        return decode(process, out)

    def direct(self, arrivals: Arrivals) -> Report:
        """The same without a gateway: what the machine itself takes."""
        return self.run(self._upstream, arrivals)

    @contextmanager
    def running(self, port: int, arrivals: Arrivals) -> "Iterator[subprocess.Popen[str]]":
        """The client while it runs, for those who look meanwhile."""
        process = subprocess.Popen(
            ["taskset", "-c", str(LOAD_CPU), *self._command(port, arrivals)], stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _command(self, port: int, arrivals: Arrivals) -> list[str]:
        files = [str(self._load.heads), str(self._load.body), str(self._answer), new_seed()]
        flow = [f"{number:g}" for number in (arrivals.rate, arrivals.seconds, arrivals.warm_up)]
        end = [str(arrivals.callers), str(secrets.randbelow(2**32)), f"{arrivals.after:g}", f"{arrivals.quick_ms:g}"]
        return [str(self._program), str(port), str(self._upstream), *files, *flow, *end]


def decode(process: "subprocess.Popen[str]", text: str) -> Report:
    """The client's report. Raises Void when it failed."""
    if process.returncode:
        raise Void(f"the client ended with {process.returncode}")
    return msgspec.json.decode(text, type=Report)
