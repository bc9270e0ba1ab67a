"""Load programs in C, compiled for the run. They share client.h."""

import subprocess
from pathlib import Path

from bench.stage.programs import BenchError, program_path

HERE = Path(__file__).parent


def compile_client(source: Path, folder: Path) -> Path:
    """The program made of a C file, in `folder`. Raises BenchError when there is no compiler or it refuses."""
    compiler = program_path("gcc")
    if compiler is None:
        raise BenchError("gcc is not installed")
    program = folder / source.stem
    command = [compiler, "-O2", f"-I{HERE}", "-o", str(program), str(source), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{source.name} does not compile: {done.stderr[-2000:]}")
    return program
