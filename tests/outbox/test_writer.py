"""A worker's end: what is put comes back, what has no room is refused, and what was let in can always be ended."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastpath.outbox.folder import OutboxError
from fastpath.outbox.keeper import Options
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock, SystemClock
from tests.outbox.conftest import SMALL, fill, read_all
from tests.outbox.records import payloads

Write = Callable[..., OutboxWriter]
Read = Callable[..., OutboxReader]


def test_what_is_put_comes_back_in_order(write: Write, read: Read) -> None:
    writer, reader = write(), read()
    sent = [b"record %d " % number * (1 + number % 40) for number in range(300)]
    found: list[bytes] = []
    for number, record in enumerate(sent):
        assert writer.put(record)
        if number % 20 == 0:
            writer.step()
            found += payloads(reader.read())
    found += read_all(reader)
    writer.step()
    assert found == sent
    assert (writer.appended, writer.synced, writer.refused, writer.bad_segments) == (300, 300, 0, 0)
    assert writer.healthy
    assert writer.problem == ""


def test_nobody_else_may_look(write: Write, folder: Path) -> None:
    write()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_others_may_use_is_refused(folder: Path, clock: ManualClock) -> None:
    folder.mkdir(mode=0o755)
    with pytest.raises(OutboxError, match="chmod 700"):
        OutboxWriter(folder, clock, SMALL, thread=False)
    with pytest.raises(OutboxError, match="chmod 700"):
        OutboxReader(folder)


def test_a_link_is_no_folder(folder: Path, tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutboxError, match="not a folder"):
        OutboxWriter(folder, clock, SMALL, thread=False)


def test_every_byte_of_a_segment_exists_before_it_is_used(write: Write, folder: Path) -> None:
    """A store into a page that the disk has no room for is SIGBUS."""
    writer = write()
    assert writer.put(b"first")
    segments = list(folder.glob("*.seg"))
    assert len(segments) == 2, "the active one and the next"
    for path in segments:
        assert path.stat().st_blocks * 512 >= path.stat().st_size == SMALL.segment_bytes


def test_sizes_that_cannot_be_are_refused() -> None:
    for size in (0, 4096, 10_000, 1 << 29):
        with pytest.raises(ValueError, match="segment_bytes"):
            Options(segment_bytes=size)


def test_F28_at_the_cap_records_are_refused_until_some_are_settled(
    write: Write, read: Read, clock: ManualClock
) -> None:
    options = Options(segment_bytes=16384, cap_bytes=5 * 16384, hold=256)
    writer, reader = write(options), read()
    assert fill(writer) > 4 * 100
    assert not writer.healthy
    assert "wait to be settled" in writer.problem
    assert not writer.put_opening(b"no more")
    assert writer.backlog_bytes == options.cap_bytes
    count = len(read_all(reader))
    assert count == writer.appended
    writer.step()
    assert not writer.healthy, "it looks again only after a while"
    clock.advance(options.retry_every)
    writer.step()
    assert writer.healthy
    assert writer.problem == ""
    assert writer.put_opening(b"again")
    assert read_all(reader) == [b"again"]


def test_F28_what_was_let_in_can_be_ended_when_nothing_else_fits(write: Write, read: Read) -> None:
    writer = write(Options(segment_bytes=16384, cap_bytes=2 * 16384, hold=256))
    opened = 0
    while writer.put_opening(b"intent"):
        opened += 1
        writer.put(bytes(100))
    assert opened > 60
    while writer.put(b"a mark"):
        pass
    ends = [b"end %d " % number + bytes(200) for number in range(opened)]
    for end in ends:
        assert writer.put_closing(end)
    assert read_all(read())[-opened:] == ends


def test_who_lets_go_gives_room_back(write: Write) -> None:
    writer = write(Options(segment_bytes=16384, cap_bytes=2 * 16384, hold=2048))
    while writer.put_opening(b"intent"):
        pass
    assert not writer.healthy
    writer.let_go()
    writer.let_go()
    assert writer.healthy
    assert writer.put_opening(b"intent")


def test_an_oversized_record_is_refused(write: Write) -> None:
    writer = write()
    assert not writer.put(bytes(65537))
    assert not writer.put(b"")
    assert writer.refused == 2


def test_closing_ends_the_stream(write: Write, read: Read, folder: Path) -> None:
    writer, reader = write(), read()
    assert writer.put(b"last words")
    assert writer.close()
    assert not writer.healthy
    assert not writer.put(b"too late")
    assert len(list(folder.glob("*.seg"))) == 1, "what was not used is gone"
    assert read_all(reader) == [b"last words"]
    assert not list(folder.glob("*.seg")), "although its process lives"


def test_the_thread_syncs_and_prepares(folder: Path) -> None:
    writer = OutboxWriter(folder, SystemClock(), SMALL)
    waiting = threading.Event()
    try:
        for _ in range(3):
            assert writer.put(bytes(12_000))
            for _ in range(2_000):
                if writer.synced == writer.appended and writer.appender.ready is not None:
                    break
                waiting.wait(0.005)
            assert writer.synced == writer.appended
            assert writer.appender.ready is not None
    finally:
        assert writer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "outbox-sync"]


def test_a_sync_asks_the_disk_only_when_something_was_put(write: Write) -> None:
    writer = write()
    for _ in range(5):
        writer.step()
    assert writer.syncs == 0
    assert writer.put(b"x")
    for _ in range(5):
        writer.step()
    assert writer.syncs == 1


def test_descriptors_and_maps_are_given_back(write: Write) -> None:
    writer = write()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(40):
        assert writer.put(bytes(9_000))
        writer.step()
    assert len(os.listdir("/proc/self/fd")) == before
    writer.close()
    assert writer.stream.name not in Path("/proc/self/maps").read_text()


def written_bytes() -> int:
    """Bytes of pages that this process has made dirty; 0 where the file system has no disk."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("write_bytes"))
    return int(line.split()[1])


def test_a_sync_writes_what_was_appended_and_not_what_lies_around_it(folder: Path) -> None:
    """A segment that was written in large pieces is synced in large pieces: 1 MiB for each record."""
    writer = OutboxWriter(folder, SystemClock(), thread=False)
    try:
        writer.put(b"x")
        writer.step()  # and the pages ahead are made writable, which counts as written
        before = written_bytes()
        for _ in range(50):
            assert writer.put(bytes(100))
            writer.step()
        assert writer.syncs == 51
        assert written_bytes() - before <= 50 * 2 * 4096, "the page of its tail, and the next one"
    finally:
        writer.close()
