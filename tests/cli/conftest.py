"""Runs the `fastpath` command as a person does: another process, another folder, its own environment."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fastpath

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`run(*arguments, stdin="", **environ)`; the working folder is empty and the state folder is under it."""
    home = str(Path(fastpath.__file__).resolve().parents[1])

    def run_command(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "fastpath.cli", *arguments],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": home, "HOME": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "200", **environ},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run_command
