"""Tells the service manager how the service is (the sd_notify protocol), without libsystemd.

Owns: one datagram socket. Does nothing where no manager asked to be told. Source: sd_notify(3).
"""

import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the address in NOTIFY_SOCKET; `environ` is the supervisor's.

    `watchdog` is the number of seconds within which the manager wants to hear from us, None when it does not.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = _datagram_socket() if self._address.startswith(("/", "\0")) else None
        self.watchdog = _watchdog(environ, pid) if self._socket else None

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is over."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, monotonic: float) -> None:
        """A reload begins; `monotonic` is CLOCK_MONOTONIC in seconds, which Type=notify-reload compares."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1_000_000)}")

    def stopping(self) -> None:
        """Draining has begun."""
        self._send("STOPPING=1\nSTATUS=draining")

    def succeeded_by(self, pid: int) -> None:
        """Another process is the service from now on."""
        self._send(f"MAINPID={pid}")

    def alive(self) -> None:
        """Keeps the manager's watchdog quiet."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError:  # a manager that is restarting or slow to read must not stop the service
            return


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    return sock


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    meant_for = environ.get("WATCHDOG_PID", "")
    interval = environ.get("WATCHDOG_USEC", "")
    if not interval.isdecimal() or int(interval) == 0 or meant_for not in ("", str(pid)):
        return None
    return int(interval) / 1_000_000
