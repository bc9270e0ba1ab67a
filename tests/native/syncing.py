"""Fills a segment of memory, syncs it after each record, and says how many there were; run with larger_pages.c."""

import os

from _native.outbox import Appender, Segment

SIZE = 1 << 19


def main() -> None:
    assert os.sysconf("SC_PAGESIZE") == 65536
    descriptor = os.memfd_create("segment")
    os.ftruncate(descriptor, SIZE)
    segment = Segment(descriptor, SIZE, 7, 1)
    appender = Appender()
    appender.offer(segment)
    while appender.put(bytes(5_000)):
        segment.sync()
        assert segment.durable == segment.tail
    print(segment.durable_count)


main()
