"""`python -m loadtest.locust`: runs scenarios, prints a table. Exit status 0: all objectives held; 1: one was missed;
3: none was missed, but the machine was too noisy to tell.

Owns the command line and the table. A void scenario is run once more; a missed one is not.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from loadtest.locust.course import Result, hold
from loadtest.locust.scenarios import SCENARIOS, Scenario
from loadtest.locust.slo import Figures, Verdict

STATUS = {Verdict.HELD: 0, Verdict.MISSED: 1, Verdict.VOID: 3}
HEAD = "scenario       way      turns errors  left  TTFT+ p50     p95  token p95  verdict"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.locust", description="Locust scenarios with latency objectives.")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all scenarios together (%(default)s)")
    parser.add_argument("--scenario", action="append", choices=sorted(SCENARIOS), help="repeatable; all by default")
    parser.add_argument("--door", choices=("native", "granian"), default="native", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same talks (%(default)s)")
    parser.add_argument("--output", type=Path, help="file for the figures, JSON")
    return parser.parse_args(arguments)


def shares(chosen: list[Scenario], seconds: float) -> dict[str, float]:
    """Wall seconds of each scenario: equal shares, plus what its tail needs more than the others'."""
    rest = (seconds - sum(scenario.tail for scenario in chosen)) / len(chosen)
    return {scenario.name: rest + scenario.tail for scenario in chosen}


async def run(options: argparse.Namespace) -> list[Result]:
    """The chosen scenarios, one after the other. Raises ValueError when the time is too short for them."""
    chosen = [SCENARIOS[name] for name in options.scenario or SCENARIOS]
    results = []
    for scenario in chosen:
        wall = shares(chosen, options.seconds)[scenario.name]
        result = await hold(scenario, options.door, wall, options.seed)
        if result.judgement.verdict is Verdict.VOID:
            show(result)
            result = await hold(scenario, options.door, wall, options.seed + 1)
        show(result)
        results.append(result)
    return results


def show(result: Result) -> None:
    """Prints two lines, one per way, and why a scenario did not hold."""
    found = result.judgement
    print(_row(found.scenario, "direct", found.direct, ""))
    print(_row("", "gateway", found.gateway, found.verdict.value))
    for reason in found.reasons:
        print(f"{'':15}{reason}")
    sys.stdout.flush()


def _row(scenario: str, way: str, one: Figures, verdict: str) -> str:
    times = f"{one.ttft_p50 * 1e3:7.1f} {one.ttft_p95 * 1e3:7.1f} {one.gap_p95 * 1e3:7.1f} ms"
    return f"{scenario:14} {way:8} {one.turns:5} {one.errors:6} {one.left:5} {times}  {verdict}"


def status(results: list[Result]) -> int:
    """The exit status: a miss counts before a void."""
    verdicts = {result.judgement.verdict for result in results}
    worst = next((one for one in (Verdict.MISSED, Verdict.VOID) if one in verdicts), Verdict.HELD)
    return STATUS[worst]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    print(HEAD)
    try:
        results = asyncio.run(run(options))
    except (ValueError, RuntimeError) as error:
        print(f"loadtest.locust: {error}", file=sys.stderr)
        return 2
    if options.output:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    return status(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
