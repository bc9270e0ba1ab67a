"""Who is asked in the open loop: the upstreams themselves, haproxy, and Fastpath's doors.

Owns the processes; finds each door's peak.
"""

from pathlib import Path

from bench.load.chunks import measure_chunks
from bench.load.probe import await_answer
from bench.load.requests import measure_requests
from bench.slo.client import Answered, Arrivals, OpenLoop
from bench.slo.levels import Kind
from bench.stage.callers import Load, make_body, make_callers, write_load
from bench.stage.gateway import Door, Plan, Subject, start_gateway
from bench.stage.peers import start_haproxy
from bench.stage.programs import Programs
from bench.stage.upstreams import Upstream, start_paced, start_plain

KINDS: tuple[Kind, ...] = ("request", "stream")
CHUNKS = 65
"""Chunks of a whole stream: 64 with a token each, and the last."""
CONNECTIONS: dict[Kind, int] = {"request": 512, "stream": 4_096}


class House:
    """Everything that is asked, for requests and for streams. Raises BenchError when something does not start."""

    def __init__(self, programs: Programs, doors: tuple[Door, ...]) -> None:
        folder: Path = programs.folder
        callers = make_callers(folder / "state")
        self._open_loop = OpenLoop(folder)
        self._subjects: dict[tuple[Kind, str], Subject] = {}
        bodies = {"request": make_body("request"), "stream": make_body("request_stream")}
        self._loads: dict[Kind, Load] = {kind: write_load(folder, kind, callers.tokens, bodies[kind]) for kind in KINDS}
        for kind in KINDS:
            upstream = self._start_upstream(programs, kind)
            self._subjects[kind, "direct"] = Subject("direct", 0, upstream.ports[0])
            self._subjects[kind, "haproxy"] = start_haproxy(programs, upstream, f"haproxy-{kind}")
            for door in doors:
                plan = Plan(upstream.urls[:1], door)
                self._subjects[kind, door] = start_gateway(programs, plan, callers, f"{door}-{kind}")
        for (kind, _), subject in self._subjects.items():
            await_answer(subject.port, self._loads[kind])

    def _start_upstream(self, programs: Programs, kind: Kind) -> Upstream:
        return start_plain(programs) if kind == "request" else start_paced(programs, 1, ("--pace", "eager"))

    def peak(self, kind: Kind, door: str, seconds: int, streams: int) -> float:
        """Requests or streams a second that keep a door's CPU full: by wrk, or reckoned from CPU per chunk."""
        subject, load = self._subjects[kind, door], self._loads[kind]
        if kind == "request":
            return measure_requests(subject, load, 64, seconds, 1).rps
        found = measure_chunks(subject, load, streams, seconds, 0)  # a peak is no figure: chunks may be merged here
        return 1e6 / found.cpu_us / CHUNKS

    def ask(self, kind: Kind, name: str, rate: float, seconds: float, warm_up: float, pace: str) -> Answered:
        """One open-loop run. Raises Void."""
        arrivals = Arrivals(rate, seconds, warm_up, CONNECTIONS[kind], pace)
        return self._open_loop.run(self._subjects[kind, name].port, self._loads[kind], arrivals)
