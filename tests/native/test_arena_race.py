"""The arena's C by itself, compiled here: death at every step, and threads under ThreadSanitizer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "_native"

#: Each program brings its own sanitizer: one that is preloaded for the tests would get in its way.
ENVIRON = {name: text for name, text in os.environ.items() if name != "LD_PRELOAD"}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory):
    """Compiles arena_race.c with more flags; gives the program."""

    def _build(*flags: str) -> Path:
        program = tmp_path_factory.mktemp("arena") / "arena_race"
        strict = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-clobbered"]
        command = ["gcc", *strict, "-O1", "-g", *flags, f"-I{KERNELS}", HERE / "arena_race.c", "-o", program]
        subprocess.run([*command, "-lm", "-lpthread"], env=ENVIRON, check=True)
        return program

    return _build


def run(program: Path, *arguments: str) -> str:
    command = [program, *arguments]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_death_at_every_step_leaks_nothing(build) -> None:
    program = build("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert run(program, "crash").startswith("crash: ")


def test_threads_race_clean(build) -> None:
    program = build("-fsanitize=thread")
    assert run(program, "race", "25") == "race: 100 deaths\n"
    assert run(program, "upgrade") == "upgrade: limits held\n"
    assert run(program, "midnight") == "midnight: budgets held\n"
