"""The control plane's end: at least once, in order, after any crash of either side."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fastpath.outbox.cursor import NAME, Position
from fastpath.outbox.folder import OutboxError, list_segments
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.segment_file import SegmentFile
from fastpath.outbox.writer import OutboxWriter
from tests.outbox.conftest import fill, read_all
from tests.outbox.records import payloads, records_of

Write = Callable[..., OutboxWriter]
Read = Callable[..., OutboxReader]


def never(pid: int, start: int) -> bool:
    """Everyone is dead."""
    return False


def put(writer: OutboxWriter, first: int, last: int) -> list[bytes]:
    sent = [b"%d" % number + bytes(90) for number in range(first, last)]
    for record in sent:
        assert writer.put(record)
        if writer.appender.ready is None:
            writer.step()
    return sent


def test_what_was_not_acknowledged_comes_again(write: Write, read: Read) -> None:
    writer, reader = write(), read()
    sent = put(writer, 0, 400)
    batch = reader.read(150)
    assert payloads(batch) == sent[:150]
    reader.ack(batch.cursor)
    assert payloads(reader.read(100)) == sent[150:250]
    assert payloads(reader.read(100)) == sent[250:350]
    assert payloads(read().read(1000)) == sent[150:]


def test_an_older_cursor_takes_nothing_back(write: Write, read: Read) -> None:
    writer, reader = write(), read()
    sent = put(writer, 0, 20)
    first, second = reader.read(5), reader.read(5)
    reader.ack(second.cursor)
    reader.ack(first.cursor)
    assert payloads(read().read()) == sent[10:]


def test_whole_segments_go_when_they_are_settled(write: Write, read: Read, folder: Path) -> None:
    writer, reader = write(), read()
    put(writer, 0, 500)
    count = len(list(folder.glob("*.seg")))
    assert count > 4
    batch = reader.read(10)
    reader.ack(batch.cursor)
    assert len(list(folder.glob("*.seg"))) == count
    read_all(reader)
    assert len(list(folder.glob("*.seg"))) == 2, "the active one and the next"


def test_a_crash_between_removing_and_storing_loses_nothing(write: Write, read: Read, folder: Path) -> None:
    writer, reader = write(), read()
    sent = put(writer, 0, 500)
    batch = reader.read(300)
    before = (folder / NAME).read_bytes() if (folder / NAME).exists() else None
    reader.ack(batch.cursor)
    if before is None:
        (folder / NAME).unlink()  # as if the crash had come before it was stored
    again = payloads(read().read(1000))
    assert again[-200:] == sent[300:]
    assert again == sent[-len(again) :]


@pytest.mark.parametrize("damage", [b"", b"00000000 {}", b"garbage"])
def test_a_damaged_cursor_costs_repetition_only(write: Write, read: Read, folder: Path, damage: bytes) -> None:
    writer, reader = write(), read()
    sent = put(writer, 0, 20)
    reader.ack(reader.read(10).cursor)
    (folder / NAME).write_bytes(damage)
    assert payloads(read().read()) == sent


def test_an_impossible_cursor_costs_repetition_only(write: Write, read: Read) -> None:
    writer, reader = write(), read()
    sent = put(writer, 0, 20)
    reader.read(10)
    reader.ack({writer.stream.name: Position(1, 77)})
    assert payloads(read().read()) == sent


def test_a_living_writer_is_waited_for(write: Write, read: Read) -> None:
    writer, reader = write(), read()
    for number in range(50):
        assert payloads(reader.read()) == []
        assert writer.put(b"%d" % number)
        assert payloads(reader.read()) == [b"%d" % number]
    assert reader.damaged == reader.torn == reader.lost == 0


def test_what_a_dead_writer_left_is_read_and_removed(write: Write, read: Read, folder: Path, tmp_path: Path) -> None:
    writer = write()
    sent = put(writer, 0, 300)
    shutil.copytree(folder, tmp_path / "crashed")
    reader = OutboxReader(tmp_path / "crashed", never)
    try:
        assert read_all(reader) == sent
        reader.ack(reader.read().cursor)
        assert sorted(os.listdir(tmp_path / "crashed")) == [NAME, "reader.lock"]
        assert (reader.lost, reader.damaged, reader.torn) == (0, 0, 0)
    finally:
        reader.close()


def test_what_a_writer_did_last_is_seen(write: Write, read: Read, folder: Path, tmp_path: Path) -> None:
    """It began a segment after the reader looked, and died before the reader asked whether it lives."""
    writer = write()
    sent = put(writer, 0, 200)
    shutil.copytree(folder, tmp_path / "crashed")
    late = sorted((tmp_path / "crashed").glob("*.seg"))[1:]
    for path in late:
        path.rename(path.with_suffix(".late"))

    def die(pid: int, start: int) -> bool:
        for path in late:
            if path.with_suffix(".late").exists():
                path.with_suffix(".late").rename(path)
        return False

    first = tmp_path / "crashed" / writer.stream.segment(1)
    data = bytearray(first.read_bytes())
    data[120:128] = bytes(8)  # not sealed yet
    first.write_bytes(data)
    reader = OutboxReader(tmp_path / "crashed", die)
    try:
        assert read_all(reader) == sent
    finally:
        reader.close()


def test_what_came_before_a_death_is_read_after_it(write: Write, read: Read, folder: Path, tmp_path: Path) -> None:
    """It appended after the reader met the end, and died before the reader asked whether it lives."""
    writer = write()
    sent = put(writer, 0, 50)
    shutil.copytree(folder, tmp_path / "crashed")
    segment = tmp_path / "crashed" / writer.stream.segment(1)
    whole = segment.read_bytes()

    def die(pid: int, start: int) -> bool:
        segment.write_bytes(whole)
        return False

    segment.write_bytes(whole[:1000].ljust(len(whole), b"\0"))
    reader = OutboxReader(tmp_path / "crashed", die)
    try:
        assert payloads(reader.read()) == sent
        assert reader.lost == 0
    finally:
        reader.close()


def test_a_segment_that_is_not_seen_yet_is_waited_for(write: Write, read: Read, folder: Path, tmp_path: Path) -> None:
    writer = write()
    sent = put(writer, 0, 200)
    later = sorted(folder.glob("*.seg"))[1:]
    for path in later:
        path.rename(tmp_path / path.name)
    reader = read()
    first = read_all(reader)
    assert first == sent[: len(first)]
    assert read_all(reader) == []
    for path in later:
        (tmp_path / path.name).rename(path)
    assert first + read_all(reader) == sent


def test_a_lock_says_alive_where_process_numbers_do_not(write: Write, read: Read, folder: Path) -> None:
    """As for a reader in another container, which does not see the writer's process."""
    writer, reader = write(), read(never)
    sent = put(writer, 0, 10)
    assert read_all(reader) == sent
    assert len(list(folder.glob("*.seg"))) == 2
    assert writer.put(b"and on")
    assert read_all(reader) == [b"and on"]


def test_unfinished_segments_of_the_dead_are_removed(write: Write, read: Read, folder: Path) -> None:
    (folder).mkdir(mode=0o700)
    (folder / "1-1-00000000000000aa-00000001.seg.new").write_bytes(bytes(4096))
    (folder / "notes.txt").write_text("somebody else's")
    reader = read(never)
    read_all(reader)
    assert sorted(os.listdir(folder)) == ["notes.txt", "reader.lock"]


def test_one_reader_at_a_time(read: Read, folder: Path) -> None:
    read()
    with pytest.raises(OutboxError, match="one reader"):
        OutboxReader(folder)


def test_workers_take_turns(write: Write, read: Read) -> None:
    writers = [write() for _ in range(3)]
    for writer in writers:
        put(writer, 0, 100)
    reader = read()
    seen = [{record.segment for record in records_of(reader.read(10))}.pop() for _ in range(3)]
    assert len(set(seen)) == 3


def test_a_damaged_seal_holds_nobody_up(write: Write, read: Read, folder: Path) -> None:
    writer = write()
    sent = put(writer, 0, 200)
    first = folder / writer.stream.segment(1)
    with first.open("r+b") as file:
        file.seek(120)
        file.write(b"\xff" * 8)
    assert read_all(read()) == sent


def test_a_damaged_header_holds_nobody_up(write: Write, read: Read, folder: Path) -> None:
    writer = write()
    sent = put(writer, 0, 200)
    for path in folder.glob("*.seg"):
        with path.open("r+b") as file:
            file.write(os.urandom(100))
    assert read_all(read()) == sent


def test_a_missing_segment_holds_nobody_up(write: Write, read: Read, folder: Path) -> None:
    writer = write()
    sent = put(writer, 0, 400)
    (folder / writer.stream.segment(2)).unlink()
    found = read_all(read())
    assert found == [record for record in sent if record in set(found)]
    assert len(found) > 200


def test_what_cannot_be_opened_holds_up_only_itself(write: Write, read: Read, folder: Path, tmp_path: Path) -> None:
    writer = write()
    sent = put(writer, 0, 10)
    (folder / "1-1-00000000000000aa-00000001.seg").symlink_to(tmp_path)
    assert read_all(read()) == sent


def test_a_bad_sector_is_damage(write: Write, read: Read, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write()
    sent = put(writer, 0, 400)
    whole = SegmentFile._read_whole
    segment = writer.stream.segment(1)

    def fail_in_the_second_page(self: SegmentFile, offset: int, size: int) -> bytes:
        if self.name == segment and offset < 8192 and offset + size > 4096:
            raise OSError(5, "Input/output error")
        return whole(self, offset, size)

    monkeypatch.setattr(SegmentFile, "_read_whole", fail_in_the_second_page)
    reader = read()
    found = read_all(reader)
    assert found == [record for record in sent if record in set(found)]
    assert len(found) == 400 - reader.lost
    assert 0 < reader.lost < 45


def test_a_full_folder_is_emptied(write: Write, read: Read, folder: Path) -> None:
    writer = write()
    count = fill(writer)
    assert len(read_all(read())) == count
    assert sum(map(len, list_segments(folder).values())) <= 2
