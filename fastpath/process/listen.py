"""Listening sockets, and plain words when one cannot be had.

The supervisor makes them once. Callers' is shared by all workers; with `reuse_port` it only keeps the port, and each
worker opens its own beside it. Nothing here waits but for the resolver.
"""

import errno
import os
import socket
import stat
from typing import Final, Self

from fastpath.settings import Listen

#: Seconds that the kernel keeps a new connection to itself until the caller says something. Processes come and go on
#: one listening socket; a connection that none has taken yet cannot be closed by one that goes. It saves a wake-up too.
DEFER_ACCEPT: Final = 1

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


def open_for_callers(listen: Listen, inherited: socket.socket | None = None) -> socket.socket:
    """The socket of callers that workers inherit: it listens, or with `reuse_port` only keeps the port for them.

    `inherited` is a predecessor's on the same address, to go on with. Raises ListenError.
    """
    if inherited is not None:
        if not listen.reuse_port:
            inherited.listen(listen.backlog)  # the predecessor's may only have kept the port
        return inherited
    if listen.unix is not None:
        return UnixListener.open(listen.unix, int(listen.unix_mode, 8), listen.backlog)
    listener = open_listener(listen.host, listen.port, listen.backlog, "--port")
    return _keep_port(listener) if listen.reuse_port else listener


def open_in_worker(inherited: socket.socket, listen: Listen) -> socket.socket:
    """The socket that a worker accepts on: the inherited one, or with `reuse_port` its own on the same port.

    Raises OSError.
    """
    own = _share_address(inherited) if listen.reuse_port else inherited
    if own.family != socket.AF_UNIX:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)
    if own is not inherited:
        own.listen(listen.backlog)
        own.setblocking(False)
    return own


def _keep_port(probe: socket.socket) -> socket.socket:
    """A bound socket in the place of `probe`, whose listening showed that nobody else has the port.

    It does not listen, so no caller comes to it. Only processes of the same user can share its port.
    """
    with probe:
        keeper = socket.socket(probe.family, socket.SOCK_STREAM)
        address = probe.getsockname()
        _allow_sharing(keeper, probe)
    try:
        keeper.bind(address)
    except OSError as error:
        keeper.close()
        raise ListenError(_explain(error, address[0], address[1], "--port")) from error
    return keeper


def _share_address(keeper: socket.socket) -> socket.socket:
    own = socket.socket(keeper.family, socket.SOCK_STREAM)
    try:
        _allow_sharing(own, keeper)
        own.bind(keeper.getsockname())
    except OSError:
        own.close()
        raise
    return own


def _allow_sharing(sock: socket.socket, alike: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        only = alike.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)


class UnixListener(socket.socket):
    """A listening Unix socket, close-on-exec. Closing it, and not its duplicates, removes its file, unless another took
    its place."""

    _path = ""
    _file: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: str, mode: int, backlog: int) -> Self:
        """Listens on `path`. The file of a gateway that is gone is replaced; one that is served is not.

        Raises ListenError.
        """
        listener = cls(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener._listen_on(os.path.abspath(path), mode, backlog)
        except OSError as error:
            listener.close()
            raise ListenError(f"cannot listen on {path}: {_unix_reason(error)}") from error
        except ListenError:
            listener.close()
            raise
        return listener

    def _listen_on(self, path: str, mode: int, backlog: int) -> None:
        _clear_way(path)
        self.bind(path)
        self._path, self._file = path, _identity(path)
        os.chmod(path, mode)  # before anyone can connect: it does not listen yet
        self.listen(backlog)

    def close(self) -> None:
        """Closes it and removes its file."""
        mine, self._file = self._file, None
        if mine is not None and _identity(self._path) == mine:
            os.unlink(self._path)
        super().close()


def _clear_way(path: str) -> None:
    """Removes the socket of a process that is gone. Raises ListenError when something else is in the way."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ListenError(f"cannot listen on {path}: a file that is no socket is there; choose another path")
    if _is_served(path):
        raise ListenError(f"cannot listen on {path}: another process serves there; stop it or choose another path")
    os.unlink(path)


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue is full
            return True
    return True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _unix_reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "its folder does not exist"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this user may not write there, or may not tell whether another process serves there"
    return error.strerror or str(error)


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """The URL of a listening socket, with the port the kernel chose; `unix:PATH` for a Unix socket."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
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
