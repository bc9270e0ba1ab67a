"""A gateway and mock model servers as processes of their own, on free ports of the loopback.

Owns their start, their output lines, their signals and their end. Does not send requests and does not judge.
Concurrency: one event loop; each program has one reader task, which its `stop` awaits.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds a program may take to say what it is asked for, or to end."""
_PORT = re.compile(r"https?://[^/\s]*:(\d+)")


class Program:
    """One child process. `lines` is what it has printed so far, both outputs together."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.lines: list[str] = []
        self._silent = False
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *arguments: str) -> Self:
        """Runs `python ARGUMENTS` in the repository's root. Raises OSError when there is no process to be had."""
        pipe, out = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},  # Workers do not look into the current folder.
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=out,
        )
        return cls(child)

    @property
    def pid(self) -> int:
        return self.child.pid

    async def line(self, text: str) -> str:
        """The first line with `text` in it, once it is printed. Raises RuntimeError when the program ends before."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: self._find(text) is not None or self._silent)
        found = self._find(text)
        if found is None:
            raise RuntimeError(f"a program ended without saying {text!r}: {self.lines[-20:]}")
        return found

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal; nothing when it has ended."""
        if self.child.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)  # Popen's own would collect the child, and its watcher miss how it ended.

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it: the signal, and SIGKILL when that does not help."""
        self.send(number)
        self.send(signal.SIGCONT)
        try:
            await asyncio.wait_for(self.child.wait(), PATIENCE)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.child.wait()
        await self._reader

    def _find(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    async def _read(self) -> None:
        assert self.child.stdout is not None
        while line := await self.child.stdout.readline():
            await self._tell(line.decode("utf-8", "replace").rstrip())
        async with self._news:
            self._silent = True
            self._news.notify_all()

    async def _tell(self, line: str) -> None:
        async with self._news:
            self.lines.append(line)
            self._news.notify_all()


class Mock(Program):
    """A mock model server that serves `llama`."""

    port: int

    @classmethod
    async def serve(cls, *options: str, port: int = 0, log: Path | None = None) -> Self:
        """Starts one with these options of `fastpath mock`; returns once it listens. The log is appended to."""
        logged = ("--log", str(log)) if log else ()
        mock = await cls.start("-m", "backends.mock", "--model", "llama", "--port", str(port), *logged, *options)
        mock.port = int(_PORT.findall(await mock.line("mock model server on"))[0])
        return mock

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


class Node(Program):
    """A gateway: the supervisor, and through it the workers."""

    port: int
    admin_port: int

    @classmethod
    async def serve(cls, settings: Path) -> Self:
        """Starts `fastpath serve` with a settings file; returns once it serves."""
        node = await cls.start("-m", "fastpath.cli", "serve", "--config", str(settings))
        node.port, node.admin_port = map(int, _PORT.findall(await node.line("serving on"))[:2])
        return node

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def workers(self) -> list[int]:
        """Pids of the workers that live now, in ascending order."""
        return sorted(pid for pid in children(self.pid) if _state(pid) not in ("Z", ""))


def settings_text(door: str, upstreams: Sequence[str], *more: str) -> str:
    """A settings file: the model `llama` with one endpoint per URL, free ports; `more` are further lines."""
    endpoints = "\n".join(f"      - {{url: {url!r}, name: e{i}, tier: L1}}" for i, url in enumerate(upstreams))
    return "\n".join(
        (
            f"listen: {{port: 0, admin_port: 0, door: {door}, drain: 2}}",
            *more,
            f"models:\n  - name: llama\n    endpoints:\n{endpoints}\n",
        )
    )


def children(pid: int) -> list[int]:
    """Pids of a process's children; none when it is gone."""
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that these processes have used, user and system; those that are gone count nothing."""
    ticks = sum(sum(map(int, fields[11:13])) for fields in map(_stat, pids) if fields)
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields behind the command's name: state first."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _state(pid: int) -> str:
    return next(iter(_stat(pid)), "")
