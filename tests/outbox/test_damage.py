"""What a crash or a disk made of a segment: damage is kept and counted, and costs no record but those it hit (F30)."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from _native.outbox import FIRST, HEAD, SEAL
from fastpath.outbox.header import unpack_header
from fastpath.outbox.keeper import Options
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock
from tests.outbox.conftest import read_all
from tests.outbox.records import payloads, records_of

SIZE = 8192
TAIL = 4096
Read = Callable[..., OutboxReader]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Each damage is a line in the log, and here are thousands."""
    caplog.set_level(logging.CRITICAL, "fastpath.outbox")


class Remains:
    """What one dead writer left: a segment, not sealed, its last 4 KiB full of records."""

    def __init__(self, folder: Path, data: bytes, name: str, ends: list[int], sent: list[bytes]) -> None:
        self.folder = folder
        self.data = data
        self.name = name
        self.sent = sent
        self.spans = [(end - (len(text) + HEAD + 7) // 8 * 8, end) for end, text in zip(ends, sent, strict=True)]

    def lay(self, data: bytes) -> None:
        (self.folder / self.name).write_bytes(data)

    def untouched(self, data: bytes) -> list[bytes]:
        """The records of which every byte is as it was."""
        kept = []
        for (start, _), record in zip(self.spans, self.sent, strict=True):
            end = start + HEAD + len(record)
            if data[start:end] == self.data[start:end]:
                kept.append(record)
        return kept


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remains]:
    origin, folder = tmp_path_factory.mktemp("origin") / "outbox", Path("/dev/shm") / f"outbox-damage-{os.getpid()}"
    writer = OutboxWriter(origin, ManualClock(), Options(SIZE, 2 * SIZE), thread=False)
    sent: list[bytes] = []
    number = 0
    while True:
        record = b"%d " % number + bytes(range(1, 1 + 13 * number % 90))
        if not writer.appender.active or writer.appender.active.tail + len(record) + 32 > SIZE:
            break
        assert writer.put(record)
        sent.append(record)
        number += 1
    name = writer.stream.segment(1)
    data = (origin / name).read_bytes()
    reader = OutboxReader(origin)
    ends = [record.end for record in records_of(reader.read())]
    reader.close()
    writer.close()
    folder.mkdir(mode=0o700)
    yield Remains(folder, data, name, ends, sent)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def nobody_lives(pid: int, start: int) -> bool:
    return False


def open_remains(remains: Remains, data: bytes) -> OutboxReader:
    remains.lay(data)
    (remains.folder / "cursor").unlink(missing_ok=True)
    return OutboxReader(remains.folder, nobody_lives)


def test_F30_every_byte_of_the_last_4_kib_flipped(remains: Remains) -> None:
    """All other records come, in order; what was hit is kept, as it was found, where it lay."""
    for at in range(SIZE - TAIL, SIZE):
        data = bytearray(remains.data)
        data[at] ^= 0xFF
        reader = open_remains(remains, bytes(data))
        batch = reader.read()
        expected = remains.untouched(bytes(data))
        assert payloads(batch) == expected, at
        hit = len(remains.sent) - len(expected)
        assert reader.lost == hit or at >= remains.spans[-1][1], "behind the last record nobody can tell"
        for damage in batch.damages if hit else ():
            assert damage.offset <= at < damage.offset + len(damage.data)
            kept = remains.folder / "quarantine" / f"{remains.name}-{damage.offset}"
            assert kept.read_bytes() == damage.data == data[damage.offset : damage.offset + len(damage.data)]
        assert len(batch.damages) == hit or not hit
        reader.close()


def test_F30_cut_off_at_every_byte_of_the_last_4_kib(remains: Remains) -> None:
    """Every whole record comes, and the missing end is told."""
    for size in range(SIZE - TAIL, SIZE):
        reader = open_remains(remains, remains.data[:size])
        batch = reader.read()
        whole = [r for (start, _), r in zip(remains.spans, remains.sent, strict=True) if start + HEAD + len(r) <= size]
        assert payloads(batch) == whole, size
        (damage,) = batch.damages
        assert damage.torn
        assert damage.missing == SIZE - max(size, damage.offset)
        assert reader.torn == 1
        reader.close()


def test_F30_every_block_lost(remains: Remains) -> None:
    """A page that never reached the disk is zeros between records that did."""
    for at in range(FIRST, SIZE - 512, 8):
        data = remains.data[:at] + bytes(512) + remains.data[at + 512 :]
        reader = open_remains(remains, data)
        batch = reader.read()
        expected = remains.untouched(data)
        assert payloads(batch) == expected, at
        if payloads(batch) and payloads(batch)[-1] == remains.sent[-1]:
            assert reader.lost == len(remains.sent) - len(expected), "numbers tell how many"
        reader.close()


def test_the_header_and_the_seal_can_be_lost(remains: Remains) -> None:
    for at in range(FIRST):
        data = bytearray(remains.data)
        data[at] ^= 0xFF
        reader = open_remains(remains, bytes(data))
        assert payloads(reader.read()) == remains.sent, at
        reader.close()
    assert unpack_header(remains.data) is not None
    assert remains.data[SEAL:FIRST] == bytes(8)


def test_F30_an_append_that_was_not_finished_is_no_loss(remains: Remains) -> None:
    start, end = remains.spans[-1]
    data = bytearray(remains.data)
    data[start : start + 4] = bytes(4)  # everything but the length, which is stored last
    reader = open_remains(remains, bytes(data))
    assert payloads(reader.read()) == remains.sent[:-1]
    assert (reader.torn, reader.lost) == (1, 0)
    assert (remains.folder / "quarantine" / f"{remains.name}-{start}").stat().st_size <= end - start
    reader.close()


def test_damage_before_a_seal_is_a_loss(tmp_path: Path, read: Read, folder: Path) -> None:
    writer = OutboxWriter(folder, ManualClock(), Options(SIZE, 4 * SIZE), thread=False)
    for number in range(3):
        assert writer.put(b"%d" % number)
    writer.close()
    path = folder / writer.stream.segment(1)
    data = path.read_bytes()
    path.write_bytes(data[: FIRST + 48] + bytes(SIZE - FIRST - 48))
    reader = read()
    assert read_all(reader) == [b"0", b"1"]
    assert (reader.lost, reader.torn) == (1, 1)


def test_damage_under_a_living_writer_waits_for_what_follows(folder: Path, read: Read) -> None:
    writer = OutboxWriter(folder, ManualClock(), Options(SIZE, 4 * SIZE), thread=False)
    try:
        reader = read()
        assert writer.put(b"one")
        assert writer.put(b"two")
        with (folder / writer.stream.segment(1)).open("r+b") as file:
            file.seek(FIRST + 24 + HEAD)
            file.write(b"TWO")
        assert payloads(reader.read()) == [b"one"]
        batch = reader.read()
        assert (batch.runs, batch.damages) == ([], [])
        assert writer.put(b"three")
        batch = reader.read()
        assert payloads(batch) == [b"three"]
        assert [(damage.offset, damage.lost, damage.torn) for damage in batch.damages] == [(FIRST + 24, 1, False)]
    finally:
        writer.close()


def test_damage_beyond_what_may_be_kept_is_counted(remains: Remains) -> None:
    for path in (remains.folder / "quarantine").glob("*"):
        path.unlink()
    data = bytearray(remains.data)
    for start, _ in remains.spans[10:60:2]:
        data[start + HEAD] ^= 1
    remains.lay(bytes(data))
    reader = OutboxReader(remains.folder, nobody_lives, quarantine_bytes=300)
    assert payloads(reader.read()) == remains.untouched(bytes(data))
    assert reader.damaged == reader.lost == 25
    kept = list((remains.folder / "quarantine").iterdir())
    assert 0 < sum(path.stat().st_size for path in kept) <= 300
    reader.close()
