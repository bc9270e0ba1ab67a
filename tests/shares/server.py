"""A redis-server of one test alone, in memory, on a Unix socket and a free port of the loopback."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self


class Server:
    """Use as a context manager; it may be killed, stopped and started again meanwhile, at the same address."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "redis.sock"
        self.url = f"unix://{self.path}"
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGCONT)
        self.kill()

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, cwd=self.path.parent, stdout=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while self.say("PING") != b"+PONG":
            assert time.monotonic() < ends
            time.sleep(0.01)

    def say(self, command: str) -> bytes:
        """The first line of what it answers, b"" when it does not."""
        with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
            sock.settimeout(5)
            sock.connect(os.fspath(self.path))
            sock.sendall(command.encode() + b"\r\n")
            return sock.recv(4096).partition(b"\r\n")[0]
        return b""

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """As by kill -9."""
        self.process.kill()
        self.process.wait()
