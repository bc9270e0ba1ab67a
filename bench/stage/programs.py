"""Programs that a measurement starts: each pinned to a CPU, awaited until it accepts, ended by us and nobody else.

Owns the processes it started, in the folder it is given. Does not know what they are. Not thread-safe.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

HOME = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds a program may take to accept connections."""


class BenchError(Exception):
    """The measurement cannot be made here; the text says why."""


class Void(Exception):
    """A measurement says nothing; the text is why."""


class Programs:
    """Processes that run together. Use as a context manager; leaving ends all, the last one first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process that was started, newest first."""
        while self._processes:
            end(self._processes.pop())

    def stop(self, pid: int) -> None:
        """Ends one of them."""
        process = next(process for process in self._processes if process.pid == pid)
        self._processes.remove(process)
        end(process)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def start(
        self,
        cpu: int,
        name: str,
        command: list[str],
        port: int,
        environ: dict[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> int:
        """Starts a program on one CPU; its pid, once it accepts connections. Raises BenchError when it does not."""
        process = self.spawn(cpu, name, command, environ)
        end = time.monotonic() + PATIENCE
        while not accepts(port, host):
            if process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"{name} did not start: {self.output(name)[-2000:]}")
            time.sleep(0.02)
        return process.pid

    def spawn(
        self, cpu: int, name: str, command: list[str], environ: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a program on one CPU, in a process group of its own; its output goes to NAME.out."""
        program = program_path(command[0]) or command[0]
        with (self.folder / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                ["taskset", "-c", str(cpu), program, *command[1:]],
                cwd=HOME,
                env=os.environ | {"PYTHONPATH": str(HOME)} | (environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._processes.append(process)
        return process

    def output(self, name: str) -> str:
        """What a program has printed so far."""
        return (self.folder / f"{name}.out").read_text(errors="replace")


def end(process: subprocess.Popen[bytes], patience: float = 40.0) -> None:
    """SIGTERM, and SIGKILL for whoever does not mind it."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def require(*names: str) -> None:
    """Raises BenchError when a program is not installed, or when there are not two CPUs."""
    for name in (*names, "taskset"):
        if program_path(name) is None:
            raise BenchError(f"{name} is not installed")
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("two CPUs are needed: one for the proxy, one for the load")


def program_path(name: str) -> str | None:
    """Where a program is; Debian keeps servers in sbin, pip in the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
