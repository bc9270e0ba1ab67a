"""Unix sockets of the state folder: theirs alone who own it, by mode.

Owns how such a socket is made. Does not own who is at its other end or what is said over it. Stateless.
"""

import os
import socket
from pathlib import Path

from fastpath.settings.private import PrivateFileError


def listen_privately(path: Path) -> socket.socket:
    """The socket, readable by its owner alone from its first moment. One that a dead process left is replaced.

    Raises PrivateFileError when another control process listens there, or the path is something else.
    """
    if path.is_symlink() or (path.exists() and not path.is_socket()):
        raise PrivateFileError(f"{path} is not a socket: move it away")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        if path.exists():
            if _answers(path):
                raise PrivateFileError(f"another control process uses {path.parent}: stop it, or name another folder")
            path.unlink()
        listener.bind(str(path))
        listener.listen(8)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
