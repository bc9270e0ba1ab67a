"""`make bench`: haproxy, nginx and Fastpath (and others that are installed) in one run, interleaved, as ratios.

Owns the order of measurements, the verdict and the file under bench/results. Does not measure (bench/race). Exits 1
when the run is void or a goal is missed, 2 when it cannot be run here.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track

from bench.race.books import judge, read_books
from bench.race.peers import HOME, KEY, KINDS, Kind, Proxy, RaceError, Stage, available
from bench.report import GOALS, Measurement, Report, missed_goals, show, summarise
from bench.versions import machine, versions

RESULTS = HOME / "bench" / "results"
ENOUGH = 5


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("bench.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ENOUGH, help="interleaved rounds (%(default)s; fewer are void)")
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement (%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="per request (%(default)s)")
    parser.add_argument("--streams", type=int, default=300, help="per chunk (%(default)s)")
    parser.add_argument("--only", action="append", choices=KINDS, help="measure requests or chunks alone")
    parser.add_argument("--body", type=Path, default=HOME / "bench" / "race" / "request.json", help="request body")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result (%(default)s)")
    return parser.parse_args(arguments)


def measure(proxy: Proxy, options: argparse.Namespace) -> Measurement:
    """One measurement of one proxy, with Fastpath's books before and after."""
    before = read_books(proxy) if proxy.log else None
    command = request_command(proxy, options) if proxy.kind == "request" else chunk_command(proxy, options)
    environ = os.environ | {"PYTHONPATH": str(HOME)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=HOME, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return Measurement(proxy.name, proxy.kind, {}, done.stderr.strip().removeprefix("void: ")[-500:])
    figures = msgspec.json.decode(done.stdout, type=dict[str, float | str])
    problem = None
    if before is not None:
        problem = judge(before, read_books(proxy), *expected(figures))
    return Measurement(proxy.name, proxy.kind, figures, problem)


def expected(figures: dict[str, float | str]) -> tuple[int, int]:
    """Requests that were answered whole, and how many more may have been begun."""
    if "begun" in figures:
        return int(figures["begun"]), 0
    return int(figures["answered"]), int(figures["cut"])


def request_command(proxy: Proxy, options: argparse.Namespace) -> list[str]:
    url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
    numbers = ["--connections", str(options.connections), "--seconds", str(options.seconds)]
    where = ["--pid", str(proxy.pid), "--url", url, "--body", str(options.body), "--key", KEY]
    return ["bench.race.per_request", *where, *numbers]


def chunk_command(proxy: Proxy, options: argparse.Namespace) -> list[str]:
    numbers = ["--streams", str(options.streams), "--seconds", str(options.seconds)]
    return ["bench.race.per_chunk", "--pid", str(proxy.pid), "--port", str(proxy.port), "--key", KEY, *numbers]


def race(options: argparse.Namespace, progress: Callable[[range], object]) -> list[list[Measurement]]:
    """All rounds; in each, every proxy in turn, and the order turns from round to round."""
    kinds: tuple[Kind, ...] = tuple(options.only or KINDS)
    with tempfile.TemporaryDirectory(prefix="race-") as folder, Stage(Path(folder), available()) as stage:
        rounds = []
        for number in progress(range(options.rounds)):  # type: ignore[attr-defined]  # rich gives back an iterable
            names = list(dict.fromkeys(name for name, _ in stage.proxies))
            names = names[number % len(names) :] + names[: number % len(names)]
            rounds.append([measure(stage.proxies[name, kind], options) for kind in kinds for name in names])
    return rounds


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    console = Console(stderr=True)
    try:
        rounds = race(options, lambda span: track(span, "racing", console=console, transient=True))
    except RaceError as error:
        console.print(f"bench: {error}")
        return 2
    now = datetime.now(UTC)
    voids = [f"{m.name}, {m.kind}: {m.void}" for measured in rounds for m in measured if m.void]
    if options.rounds < ENOUGH:
        voids.append(f"{options.rounds} rounds are fewer than {ENOUGH}")
    report = Report(
        date=now.isoformat(timespec="seconds"),
        machine=machine(),
        versions=versions(),
        method={"seconds": options.seconds, "connections": options.connections, "streams": options.streams},
        rounds=rounds,
        summary=summarise(rounds),
        void=voids,
        goals=GOALS,
    )
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{now:%Y-%m-%dT%H%M%S}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    show(report, Console())
    print(f"written to {path}")
    return 1 if report.void or missed_goals(report.summary) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
