"""Hands a node's listening sockets from one supervisor to the next: new code, and not one refused connection.

Owns: starting the successor with the command line of this process, what it inherits, and its word that it serves. The
listening sockets are never closed on the way: what callers send meanwhile waits in the kernel's queue, and both
supervisors' workers take from it until the old ones drain. Does not: drain, or decide when. A successor that cannot
start changes nothing. Concurrency: the supervisor's loop.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

VARIABLE: Final = "FASTPATH_HANDOVER"
SERVING: Final = b"serving\n"
#: Named after a process id, which the successor does not have.
_OF_THIS_PROCESS: Final = ("WATCHDOG_PID", "LISTEN_PID")
_LEAVING: Final = 10.0  # seconds between the end of the line and the exit code: on a busy machine Python ends slowly


class Inheritance:
    """What a successor was given: the listening sockets of callers and of the admin port, and the line back."""

    def __init__(self, callers: socket.socket, admin: socket.socket, line: socket.socket) -> None:
        self._sockets = {"callers": callers, "admin": admin}
        self._line = line

    def take(self, role: Literal["callers", "admin"], host: str, port: int) -> socket.socket | None:
        """The socket of that role if it listens on `host` and `port` (0: on whatever port); the settings may differ."""
        if not _listens_on(self._sockets[role], host, port):
            return None
        return self._sockets.pop(role)

    def serving(self) -> None:
        """Tells the predecessor that it can go. Without one it is forgotten: it went by itself."""
        try:
            self._line.sendall(SERVING)
        except OSError:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Gives up what was not taken."""
        for sock in (*self._sockets.values(), self._line):
            sock.close()
        self._sockets.clear()


def inherit(environ: Mapping[str, str]) -> Inheritance | None:
    """What the predecessor left to this process; None for one that nobody started so."""
    numbers = environ.get(VARIABLE, "").split(",")
    if len(numbers) != 3:
        return None
    try:
        callers, admin, line = (socket.socket(fileno=int(number)) for number in numbers)
    except (ValueError, OSError):  # left over from a process before this one
        return None
    for sock in (callers, admin, line):
        sock.set_inheritable(False)
    return Inheritance(callers, admin, line)


class Successor:
    """A new supervisor, started by this one with its listening sockets (of callers, of the admin port)."""

    def __init__(
        self, sockets: tuple[socket.socket, socket.socket], environ: Mapping[str, str], command: Sequence[str]
    ) -> None:
        self._sockets = sockets
        self._environ = environ
        self._command = command
        self.pid = 0

    async def start(self, expect_exit: "Callable[[int], asyncio.Future[int]]", within: float) -> str:
        """Starts it and waits until it serves; "" or why it does not, and then it is ended.

        `expect_exit(pid)` gives the future of its exit code: whoever reaps it, it is not Popen.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    process = self._exec(theirs)
                except OSError as error:
                    return f"it cannot be started: {error.strerror}"
            self.pid = process.pid
            exited = expect_exit(process.pid)
            problem = "this process was told to stop first"
            try:
                problem = await _wait_for_word(ours, exited, within)
            finally:
                process.returncode = 0  # else Popen would wait for it
                if problem and not exited.done():
                    os.kill(self.pid, signal.SIGTERM)
        return problem

    def _exec(self, line: socket.socket) -> "subprocess.Popen[bytes]":
        numbers = [sock.fileno() for sock in (*self._sockets, line)]
        environ = {name: value for name, value in self._environ.items() if name not in _OF_THIS_PROCESS}
        environ[VARIABLE] = ",".join(map(str, numbers))
        return subprocess.Popen(self._command, env=environ, pass_fds=numbers, close_fds=True)


def own_command() -> list[str]:
    """The command line of this process; its interpreter by the name it was called, which may be a moved link."""
    return [sys.executable, *sys.orig_argv[1:]]


async def _wait_for_word(line: socket.socket, exited: "asyncio.Future[int]", within: float) -> str:
    line.setblocking(False)
    heard = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(line, len(SERVING)))
    await asyncio.wait({heard}, timeout=within)
    if not heard.done():
        heard.cancel()
        await asyncio.wait({heard})
        return f"it did not serve within {within:.0f} s"
    if heard.exception() is None and heard.result() == SERVING:
        return ""
    await asyncio.wait({exited}, timeout=_LEAVING)
    return f"it ended with status {exited.result()}" if exited.done() else "it closed its line"


def _listens_on(sock: socket.socket, host: str, port: int) -> bool:
    address = sock.getsockname()
    try:
        wanted = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return any(at[4][0] == address[0] and port in (0, address[1]) for at in wanted)
