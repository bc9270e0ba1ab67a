"""`python -m bench.gates.prove [GATE]`: plants a slowdown before each gate (or one) and sees it fail.

No file of the product is touched: see `--plant` of each gate. Exits 1 when a gate passed what it should have stopped.
"""

import argparse
import os
import subprocess
import sys

import msgspec

from bench.micro.floors import FACTORS
from bench.stage.programs import HOME


class Proof(msgspec.Struct, frozen=True):
    """A gate with a slowdown before it. `mark` stands at least `count` times in what it prints when it works."""

    command: list[str]
    mark: str
    count: int


GATES = {
    # A blank costs 8 instructions; a request has two writes and a chunk one.
    "instructions": Proof(["bench.gates.instructions", "--plant", "500"], "FAILED", 2),
    "ratios": Proof(["bench.gates.ratios", "--plant", "--pairs", "1"], "FAILED", 2),
    "micro": Proof(["bench.micro", "--plant"], ": AssertionError: ", len(FACTORS)),
}


def stops(name: str, proof: Proof) -> bool:
    """Whether the gate fails for the right reason, rather than passes, breaks or cannot be run."""
    command = [sys.executable, "-m", *proof.command]
    environ = os.environ | {"PYTHONPATH": str(HOME)}
    done = subprocess.run(command, cwd=HOME, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    stopped = done.returncode == 1 and done.stdout.count(proof.mark) >= proof.count
    print(done.stdout)
    print(f"{name}: exit status {done.returncode}, {'as it should' if stopped else 'NOT STOPPED'}\n", flush=True)
    return stopped


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("bench.gates.prove", description=__doc__)
    parser.add_argument("gate", nargs="*", help=f"{', '.join(GATES)} (all)")
    named = parser.parse_args(arguments).gate or list(GATES)
    if unknown := set(named) - set(GATES):
        parser.error(f"no gate {', '.join(unknown)}")
    stopped = [stops(name, GATES[name]) for name in named]
    return int(not all(stopped))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
