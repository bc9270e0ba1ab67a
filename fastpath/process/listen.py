"""Listening sockets, made once by the supervisor, and plain words when one cannot be had."""

import errno
import socket
from typing import Final

_REASONS: Final = {
    errno.EACCES: "this user may not use it (ports under 1024 need a privilege)",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


class ListenError(Exception):
    """An address cannot be listened on; the text says what to do, in one line."""


def open_listener(host: str, port: int, backlog: int, option: str) -> socket.socket:
    """A listening TCP socket, close-on-exec. `option` is the command-line option that changes `port`.

    A name is resolved and its first IPv4 address taken, if it has one; `::` accepts IPv4 as well.
    Raises ListenError.
    """
    family, address = _resolve(host, port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        sock.bind(address)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError(_explain(error, host, port, option)) from error
    return sock


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """The URL of a listening socket, with the port the kernel chose."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}: {error.strerror}") from error
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, (str(address[0]), int(address[1]))


def _explain(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: see who has it with `ss -ltnp 'sport = :{port}'` and stop that, "
            f"or choose another port with {option}"
        )
    reason = _REASONS.get(error.errno or 0, error.strerror)
    return f"cannot listen on {host} port {port}: {reason}"
