"""`fastpath bench` as a person runs it: another process, another folder, its own environment."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

HOME = Path(__file__).resolve().parents[2]
PATIENCE = 60


class ModelServer(Protocol):
    """The parts of the mock process that these tests use."""

    url: str
    key: str

    def records(self) -> list[dict[str, Any]]: ...
    def wait_records(self, count: int) -> list[dict[str, Any]]: ...
    def script(self, *faults: dict[str, Any], times: int | None = None, path: str | None = None) -> None: ...
    def reset(self) -> None: ...


class Command:
    """Runs `fastpath bench` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environ(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "PYTHONPATH": str(HOME), "HOME": str(self.folder), "NO_COLOR": "1", "COLUMNS": "200", **more}

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs to the end."""
        return subprocess.run(
            [sys.executable, "-m", "fastpath.cli", "bench", *arguments],
            cwd=self.folder,
            env=self.environ(environ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def result(self, server: ModelServer, *arguments: str, code: int = 0) -> Any:
        """What `--json` prints about this server."""
        done = self(server.url, "--json", *arguments, FASTPATH_API_KEY=server.key)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        """Runs in the background; the caller ends it."""
        command = [sys.executable, "-m", "fastpath.cli", "bench", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environ(environ), stdout=pipe, stderr=pipe, text=True
        )

    def rows(self, folder: str) -> list[dict[str, Any]]:
        """The lines of a folder's requests.jsonl in order of their numbers."""
        lines = (self.folder / folder / "requests.jsonl").read_text().splitlines()
        return sorted(map(json.loads, lines), key=lambda row: row["number"])


@pytest.fixture
def bench(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture(scope="module")
def paced(launch_for_module: Any) -> Any:
    """A model server with a known pace: 100 ms to the first token, then 100 tokens a second, 20 an answer."""
    return launch_for_module.mock("--ttft", "0.1", "--rate", "100", "--tokens", "20", "--model", "paced")


@pytest.fixture(scope="module")
def quick_server(launch_for_module: Any) -> Any:
    """One that answers at once, four tokens."""
    return launch_for_module.mock("--tokens", "4", "--model", "quick")


@pytest.fixture
def quick(quick_server: Any) -> Any:
    """The quick one, with no script and no records."""
    quick_server.reset()
    return quick_server


@pytest.fixture
def slow(mock_process: Callable[..., Any]) -> Any:
    """One that runs a single request at a time, each 50 ms."""
    return mock_process("--ttft", "0.05", "--tokens", "1", "--slots", "1")
