"""The control process as the supervisor sees it: one child, started again when it dies, stopped last.

Owns: exec'ing it with a clean environment, its settings line on a standard input that stays open (it ends when that
does, so no supervisor leaves one behind), its lines, and how long to wait before the next. Does not: know what it
serves or publishes; traffic needs none of it. Concurrency: the supervisor's loop; the fleet reaps.
"""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio import Event, Future, StreamReader, StreamReaderProtocol
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from fastpath.process.fleet import describe_exit
from fastpath.process.member import child_environment
from fastpath.settings import Control
from fastpath.settings.secret import reveal_hook
from scheduler.clock import Clock

COMMAND: Final = (sys.executable, "-P", "-m", "controlplane")
MASTER_KEY: Final = "FASTPATH_MASTER_KEY"
SERVING: Final = "fastpath control serving on "
SETTLED_AFTER: Final = 10.0
FIRST_BACKOFF: Final = 0.5
LONGEST_BACKOFF: Final = 30.0
"""Seconds. Longer than a worker's, because a start costs about a second of CPU and no caller waits for it."""
STOP_WITHIN: Final = 15.0

ExpectExit = Callable[[int], "Future[int]"]
Say = Callable[[str], None]


def settings_line(control: Control, folder: Path, environ: Mapping[str, str], keep_days: int = 7) -> bytes:
    """What the control process reads first: JSON as in `controlplane.settings`, secrets included.

    keep_days: how long records of decisions are shown.
    """
    line: dict[str, Any] = {
        "state_dir": str(folder),
        "host": control.host,
        "port": control.port,
        "end_with_stdin": True,
        "keep_days": keep_days,
        "webhooks": control.webhooks,
        "allow_hosts": control.allow_hosts,
    }
    if control.issuers:
        line["issuers"] = msgspec.to_builtins(control.issuers)
    if control.database is not None:
        line["database"] = control.database.reveal()
    if MASTER_KEY in environ:  # as `fastpath control` has it: one installation, one master key
        line["master_key"] = {"type": "environment", "variable": MASTER_KEY}
    return msgspec.json.encode(line, enc_hook=reveal_hook) + b"\n"


class ControlChild:
    """Keeps one control process alive. `line`: what `settings_line` made. `url` is "" while none serves."""

    def __init__(
        self, line: bytes, environ: Mapping[str, str], clock: Clock, say: Say, command: Sequence[str] = COMMAND
    ) -> None:
        self.url = ""
        self._line = line
        self._environ = child_environment(environ, ())
        if MASTER_KEY in environ:
            self._environ[MASTER_KEY] = environ[MASTER_KEY]
        self._clock = clock
        self._say = say
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._hung = False
        self.restarts = 0
        self._stopping = Event()
        self._over = Event()
        self._over.set()

    async def run(self, expect_exit: ExpectExit) -> None:
        """Until `stop`. `expect_exit(pid)` gives the future of an exit code: the fleet reaps every child."""
        self._over.clear()
        quick_deaths = 0
        try:
            while not self._stopping.is_set():
                born = self._clock.monotonic()
                reason = await self._live(expect_exit)
                if self._stopping.is_set():
                    return
                short = self._hung or self._clock.monotonic() - born < SETTLED_AFTER
                quick_deaths, self._hung = quick_deaths + 1 if short else 0, False
                self.restarts += 1
                self._say(f"the control process is gone and will be started again, traffic goes on: {reason}")
                await self._pause(backoff(quick_deaths))
        finally:
            self.hurry()
            self._over.set()

    async def stop(self) -> None:
        """Lets it finish what runs, then ends it. Returns when it is gone; may be called again."""
        self._stopping.set()
        self._close_stdin()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await self._over.wait()
        self.hurry()
        await self._over.wait()

    def hurry(self) -> None:
        """Ends it now."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):  # reaped a moment ago, and not told yet
                os.kill(self._process.pid, signal.SIGKILL)

    def kill_hung(self) -> None:
        """Ends it now because it answers nothing: the next one waits, as after a death at its start."""
        if not self._hung:  # once: its number may be another process's by the next look
            self._hung = True
            self.hurry()

    async def _live(self, expect_exit: ExpectExit) -> str:
        """Runs one to its end; gives the reason of it."""
        try:
            process = self._process = self._exec()
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        exited = expect_exit(process.pid)
        exited.add_done_callback(lambda code: _note(process, code))
        listening = asyncio.create_task(self._listen(process))
        try:
            code = await asyncio.shield(exited)
            await asyncio.wait({listening}, timeout=1)  # its last words may still be in the pipe
        finally:
            self.url = ""
            listening.cancel()
            await asyncio.wait({listening})
            self._close_stdin()
        return describe_exit(code)

    def _exec(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
            process_group=0,  # Ctrl-C is the supervisor's to hear: workers drain first
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead already, and its exit says so
            process.stdin.write(self._line)  # far below what a pipe holds, so this never waits
        return process

    async def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None
        loop = asyncio.get_running_loop()
        reader = StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: StreamReaderProtocol(reader), process.stderr)
        try:
            while line := await _next_line(reader):
                self._hear(line)
        finally:
            transport.close()

    def _hear(self, line: str) -> None:
        if not line.startswith(SERVING):
            self._say(line)
            return
        self.url = line.removeprefix(SERVING)
        self._say(f"control on {self.url}")

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def backoff(quick_deaths: int) -> float:
    """Seconds to wait before the next one: none for one that had run well, then 0.5 s doubling to 30 s."""
    if quick_deaths == 0:
        return 0.0
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(quick_deaths - 1, 10)))


async def _next_line(reader: StreamReader) -> str:
    """The next line that says something; "" at the end."""
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # longer than any of ours; the reader has let it go
            continue
        text = line.decode(errors="replace").rstrip()
        if text or not line:
            return text


def _note(process: "subprocess.Popen[bytes]", exited: "Future[int]") -> None:
    """Popen did not wait for it, the fleet did; from here on its number may be another process's."""
    if not exited.cancelled():
        process.returncode = exited.result()
