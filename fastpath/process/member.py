"""One worker process as the supervisor sees it.

Owns: exec'ing it with a clean environment, the supervisor's end of its channel, whether it is ready. Does not: decide
when one is needed (fleet.py) or reap it (the fleet waits for every child). Concurrency: the supervisor's loop.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import msgspec

from fastpath.process.channel import (
    Answer,
    Attach,
    Channel,
    Condition,
    Configure,
    Configured,
    Debug,
    DebugRequest,
    Drain,
    LoadRequest,
    Loads,
    Pulse,
    PulseRequest,
    Question,
    Ready,
    ToSupervisor,
    ToWorker,
    open_supervisor_end,
)
from fastpath.process.tables import open_line, send_tables
from fastpath.route.live import LiveEndpoint

_ALLOWED: Final = frozenset(
    ("PATH", "HOME", "LANG", "TZ", "PYTHONPATH", "PYTHONUNBUFFERED", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")
)
_ALLOWED_PREFIXES: Final = ("LC_", "XDG_", "FASTPATH_DEBUG")

Asked = TypeVar("Asked", Configured, Pulse, Debug, Loads)


class Given(msgspec.Struct, frozen=True):
    """What workers run by: settings, and the key tables with whom their rows point at. See `channel.Configure`.

    `tables` are descriptors; whoever made this keeps them open as long as a worker may be given it.
    """

    settings: bytes
    roster: bytes = b""
    tables: tuple[int, ...] = ()


class Launch(msgspec.Struct, frozen=True):
    """How workers are started. `app` is `module:callable`; the callable is worker.py's `Build`. `attach` opens the
    arena, which is in `arena_fd` when that is not -1.

    `environ` is the supervisor's; `withheld` are the variables whose values the settings use. Both are read anew for
    every worker, so a collection that grows with a reload is fine.
    """

    app: str
    listen_fd: int
    arena_fd: int
    attach: Attach
    environ: Mapping[str, str]
    withheld: Collection[str] = ()

    def command(self, channel_fd: int, tables_fd: int) -> list[str]:
        """The argument vector. Nothing secret may be in it: everyone on the machine can read it."""
        worker = [sys.executable, "-P", "-m", "fastpath.process.worker"]
        descriptors = {"--listen-fd": self.listen_fd, "--arena-fd": self.arena_fd, "--channel-fd": channel_fd}
        descriptors["--tables-fd"] = tables_fd
        options = [word for option, fd in descriptors.items() for word in (option, str(fd))]
        return [*worker, *options, "--app", self.app]


def child_environment(environ: Mapping[str, str], withheld: Collection[str]) -> dict[str, str]:
    """The variables a worker may see: an allow-list, less the `withheld` ones."""
    return {
        name: value
        for name, value in environ.items()
        if (name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)) and name not in withheld
    }


class Member:
    """A running worker. `exited` resolves to its exit code, negative for a signal; `on_ready` is called once."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        channel: Channel[ToSupervisor, ToWorker],
        line: socket.socket,
        exited: "asyncio.Future[int]",
        on_ready: Callable[[], None],
    ) -> None:
        self.pid = process.pid
        self.exited = exited
        self.ready = False
        self.problem = ""
        self._leaving = False
        self._process = process
        self._channel = channel
        self._line = line
        self._on_ready = on_ready
        self._numbers = 0
        self._told = Condition(degraded=False)
        self._waiting: dict[int, asyncio.Future[Answer | None]] = {}
        self._outstanding: dict[type, asyncio.Future[Answer | None]] = {}

    async def live(self, attach: Attach, given: Given) -> int:
        """Shows the worker the arena, configures it and listens to it until it has exited; gives its exit code."""
        self._channel.send(attach)
        configured = self._configure(given)
        configured.add_done_callback(self._on_configured)
        listening = asyncio.create_task(self._listen())
        try:
            code = await asyncio.shield(self.exited)
            await asyncio.wait({listening}, timeout=1)  # its last words may still be in the socket
        finally:
            self.ready = False
            listening.cancel()
            await asyncio.wait({listening})
            self._line.close()
            await self._channel.close()
        self._process.returncode = code  # Popen did not wait for it, the fleet did
        return code

    async def configure(self, given: Given, within: float) -> Configured | None:
        """Asks it to swap in what it is given; None when it does not answer in time, though it may do it later."""
        future = self._configure(given)
        await asyncio.wait({future}, timeout=within)
        return _answer(future, Configured)

    async def refresh(self, within: float) -> None:
        """Brings `ready` up to date; for a worker that does not answer in time it stays as it was."""
        await asyncio.wait({self._ask_once(PulseRequest)}, timeout=within)

    def pulse(self) -> "asyncio.Future[Answer | None]":
        """The question whether it runs that is open, or a new one; cancelled when the worker is gone."""
        return self._ask_once(PulseRequest)

    async def requests(self, within: float) -> list[dict[str, Any]]:
        """Its requests in flight; none when it does not answer in time."""
        future = self._ask_once(DebugRequest)
        await asyncio.wait({future}, timeout=within)
        answer = _answer(future, Debug)
        return [{"worker": self.pid, **request} for request in answer.requests] if answer else []

    async def loads(self, within: float) -> list[LiveEndpoint] | None:
        """What it knows of its endpoints; None when it does not answer in time."""
        future = self._ask_once(LoadRequest)
        await asyncio.wait({future}, timeout=within)
        answer = _answer(future, Loads)
        return answer.endpoints if answer else None

    def tell(self, condition: Condition) -> None:
        """Tells it how the node is, unless it knows."""
        if condition != self._told:
            self._told = condition
            self._channel.send(condition)

    def drain(self, deadline: float) -> None:
        """Tells it to finish within `deadline` seconds and exit."""
        self.ready, self._leaving = False, True
        self._channel.send(Drain(deadline))

    def kill(self) -> None:
        """Ends it now, unless it has ended."""
        if not self.exited.done():
            os.kill(self.pid, signal.SIGKILL)

    def _configure(self, given: Given) -> "asyncio.Future[Answer | None]":
        if given.tables:
            try:
                send_tables(self._line, self._numbers + 1, given.tables)
            except OSError:  # it is dead, or takes nothing: no answer will come
                return asyncio.get_running_loop().create_future()
        return self._ask(lambda number: Configure(number, given.settings, given.roster, len(given.tables)))

    def _ask(self, make: Callable[[int], Question]) -> "asyncio.Future[Answer | None]":
        self._numbers += 1
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting[self._numbers] = future
        self._channel.send(make(self._numbers))
        return future

    def _ask_once(
        self, kind: type[PulseRequest] | type[DebugRequest] | type[LoadRequest]
    ) -> "asyncio.Future[Answer | None]":
        # While a question is open nobody asks it again, so nothing piles up in front of a worker that is stopped.
        future = self._outstanding.get(kind)
        if future is None or future.done():
            future = self._outstanding[kind] = self._ask(kind)
        return future

    async def _listen(self) -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                self._receive(message)
        finally:
            for future in self._waiting.values():
                future.cancel()
            self._waiting.clear()

    def _receive(self, message: ToSupervisor) -> None:
        if isinstance(message, Ready):
            self.ready = True
            self._on_ready()
        else:
            self._on_answer(message)

    def _on_answer(self, message: Answer) -> None:
        if isinstance(message, Pulse):
            self.ready = message.ready and not self._leaving  # it may have answered before it was told to go
        future = self._waiting.pop(message.number, None)
        if future is not None and not future.done():
            future.set_result(message)

    def _on_configured(self, future: "asyncio.Future[Answer | None]") -> None:
        answer = _answer(future, Configured)
        if answer is not None and not answer.ok:
            self.problem = answer.problem


def _answer(future: "asyncio.Future[Answer | None]", kind: type[Asked]) -> Asked | None:
    """The answer, if it came."""
    answer = future.result() if future.done() and not future.cancelled() else None
    return answer if isinstance(answer, kind) else None


async def spawn(
    launch: Launch, on_exit: Callable[[int], "asyncio.Future[int]"], on_ready: Callable[[], None]
) -> Member:
    """Execs one worker. `on_exit(pid)` is asked, before anything else runs, for the future of its exit code.

    Raises OSError when there is no descriptor or process to be had.
    """
    ours, theirs = socket.socketpair()
    line, far_line = open_line()
    with theirs, far_line:
        process = _exec(launch, theirs.fileno(), far_line.fileno())
    exited = on_exit(process.pid)
    return Member(process, await open_supervisor_end(ours), line, exited, on_ready)


def _exec(launch: Launch, channel_fd: int, tables_fd: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        launch.command(channel_fd, tables_fd),
        env=child_environment(launch.environ, launch.withheld),
        stdin=subprocess.DEVNULL,
        pass_fds=[fd for fd in (launch.listen_fd, launch.arena_fd, channel_fd, tables_fd) if fd >= 0],
        close_fds=True,
    )
