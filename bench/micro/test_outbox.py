"""The outbox: a record appended, with its share of new segments; a record's checksum; what a reader takes at once."""

import os
from collections.abc import Callable

from _native import outbox as native
from _native.reference import outbox as twin
from bench.micro.conftest import Contest

TOKEN = 0x0123_4567_89AB_CDEF
SIZE = 1 << 20
RECORD = bytes(range(256)) + bytes(44)
"""300 bytes: an Intent with its price."""


def renew(ours: native.Appender, memory: int) -> bool:
    """Begins the same pages anew: the file system is not what is measured."""
    for segment in ours.detach():
        segment.close()
    ours.offer(native.Segment(os.dup(memory), SIZE, TOKEN, 1))
    return ours.put(RECORD)


def renew_twin(pure: twin.Appender) -> bool:
    pure.active = None
    pure.offer(twin.Segment(SIZE, TOKEN, 1))
    return pure.put(RECORD)


def test_append(against_twin: Contest) -> None:
    ours, pure = native.Appender(), twin.Appender()
    put, put_twin = ours.put, pure.put
    memory = os.memfd_create("segment")
    os.ftruncate(memory, SIZE)
    against_twin(
        "outbox append of 300 bytes",
        lambda: put(RECORD) or renew(ours, memory),
        lambda: put_twin(RECORD) or renew_twin(pure),
    )
    os.close(memory)


def test_checksum(against_twin: Contest) -> None:
    against_twin("outbox checksum of 300 bytes", lambda: native.crc32c(RECORD), lambda: twin.crc32c(RECORD))


def test_read(against_twin: Contest) -> None:
    segment = twin.Segment(SIZE, TOKEN, 1)
    for _ in range(100):
        segment.put(twin.PLAIN, RECORD)
    data = bytes(segment.memory[twin.FIRST : segment.tail])
    read: Callable[..., tuple[list[twin.Found], int]] = native.parse
    against_twin(
        "outbox read of 100 records",
        lambda: read(data, twin.FIRST, TOKEN, 1, 1000),
        lambda: twin.parse(data, twin.FIRST, TOKEN, 1, 1000),
    )
