"""Hands key tables from the supervisor to a worker: descriptors of sealed memory, beside the channel's messages.

Owns one socket pair per worker and the number that ties descriptors to their message, which comes after them. Does not
own the descriptors it sends, nor whether a table is the one that was signed: the supervisor verified it, nobody can
change it since, and nobody else holds the other end. Neither end ever waits.
"""

import importlib
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from _native.keytable import KeyTable

MOST: Final = 2
"""A base, and a delta to it."""
_SEALED: Final = "fastpath.publication.sealed"
_NUMBER: Final = struct.Struct("<Q")


def prepare() -> None:
    """Loads what `take_tables` needs, where there is a control plane: later it would stop the loop for 8 ms."""
    importlib.import_module(_SEALED)


class TablesError(Exception):
    """The tables of a message did not come: a bug, or not our peer."""


def open_line() -> tuple[socket.socket, socket.socket]:
    """Both ends, the supervisor's first. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):  # of the sockets themselves, so a process that inherits one does not wait either
        end.setblocking(False)
    return ours, theirs


def send_tables(line: socket.socket, number: int, descriptors: Sequence[int]) -> None:
    """Goes before the message of that number. Raises OSError when the worker has not taken many of them, or is gone."""
    socket.send_fds(line, [_NUMBER.pack(number)], list(descriptors))


def take_tables(line: socket.socket, number: int, count: int) -> list[KeyTable]:
    """The tables of the message of that number. Raises TablesError, or ValueError for memory that is not sealed."""
    while True:
        sent, descriptors = _receive(line)
        if sent == number:
            break
        _close(descriptors)  # of a message that was given up
    try:
        if len(descriptors) != count:
            raise TablesError(f"{len(descriptors)} tables came instead of {count}")
        return [_open(descriptor) for descriptor in descriptors]
    finally:
        _close(descriptors)


def _receive(line: socket.socket) -> tuple[int, list[int]]:
    try:
        data, descriptors, flags, _ = socket.recv_fds(line, _NUMBER.size, MOST)
    except OSError as error:
        raise TablesError(f"the tables did not come: {error.strerror}") from None
    if len(data) != _NUMBER.size or flags & socket.MSG_CTRUNC:
        _close(descriptors)
        raise TablesError("the tables came damaged")
    return _NUMBER.unpack(data)[0], descriptors


def _open(descriptor: int) -> KeyTable:
    from fastpath.publication.sealed import Sealed  # see `prepare`

    return KeyTable.open(Sealed(descriptor).memory)  # the map lives as long as the table


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
