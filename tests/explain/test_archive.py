"""Where records lie: found by their id, kept for their time, within their room, whatever happens to files."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastpath.explain.archive import Archive, segment_size
from fastpath.explain.decision import Decision, encode
from fastpath.explain.index import SUFFIX, index_path, read_index, write_index
from fastpath.explain.retention import DAY, Retention, Terms
from fastpath.explain.shelf import Shelf
from fastpath.outbox.folder import list_segments
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from fastpath.settings.decisions import MIB, Decisions
from scheduler.clock import ManualClock
from tests.explain.decided import make_decision

NOW = 1_800_000_000.0
SMALL = Options(segment_bytes=16_384, cap_bytes=1 << 30, sync_every=1.0, hold=2048)


class Hand:
    """Writes records to a folder as one worker, by hand."""

    def __init__(self, folder: Path, clock: ManualClock, options: Options = SMALL) -> None:
        self.folder = folder
        self.clock = clock
        self.writer = OutboxWriter(folder, clock, options, thread=False)

    def put(self, count: int = 1) -> list[Decision]:
        made = []
        for _ in range(count):
            made.append(make_decision(os.urandom(16), self.clock.now()))
            assert self.writer.put(encode(made[-1]))
            self.writer.step()
        return made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=NOW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "decisions"


@pytest.fixture
def hand(folder: Path, clock: ManualClock) -> Hand:
    return Hand(folder, clock)


def find_all(folder: Path, decisions: list[Decision], oldest: float = 0.0) -> int:
    shelf = Shelf(folder)
    found = [shelf.find(each.request, oldest) for each in decisions]
    assert all(one is None or one == each for one, each in zip(found, decisions, strict=True)), "another's record"
    return sum(one is not None for one in found)


def test_records_are_found_while_they_are_written_and_after(hand: Hand, folder: Path, clock: ManualClock) -> None:
    shelf, made = Shelf(folder), []
    for _ in range(200):
        made += hand.put()
        assert shelf.find(made[-1].request, 0.0) == made[-1], "at once"
    assert len(next(iter(list_segments(folder).values()))) > 3
    retention = Retention(folder)
    retention.keep(Terms(DAY, 1 << 30), clock.now())
    assert len(list(folder.glob(f"*{SUFFIX}"))) >= 2, "full segments have an index"
    assert [shelf.find(each.request, 0.0) for each in made] == made
    assert find_all(folder, made) == len(made)
    hand.writer.close()
    retention.keep(Terms(DAY, 1 << 30), clock.now())
    assert find_all(folder, made) == len(made)
    assert shelf.find(os.urandom(16), 0.0) is None


def test_what_was_found_once_is_not_read_again(hand: Hand, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(folder)
    made = hand.put(20)
    assert shelf.find(made[0].request, 0.0) is not None
    read: list[int] = []
    from fastpath.explain import shelf as module

    whole = module.walk

    def counted(*arguments: object) -> object:
        for place in whole(*arguments):  # type: ignore[arg-type]  # as it was called
            read.append(place.offset)
            yield place

    monkeypatch.setattr(module, "walk", counted)
    more = hand.put(2)
    assert shelf.find(more[1].request, 0.0) == more[1]
    assert len(read) == 2


def test_records_go_when_their_time_is_over(hand: Hand, folder: Path, clock: ManualClock) -> None:
    terms, retention = Terms(7 * DAY, 1 << 30), Retention(folder)
    old = hand.put(100)
    clock.advance(8 * DAY)
    fresh = hand.put(100)
    retention.keep(terms, clock.now())
    left = find_all(folder, old)
    assert left < 60, "whole segments went; the one that both share did not"
    assert find_all(folder, old, clock.now() - terms.keep) == 0, "and nobody is shown what is in that one"
    assert find_all(folder, fresh, clock.now() - terms.keep) == 100


def test_a_quiet_worker_keeps_nothing_longer(folder: Path, clock: ManualClock) -> None:
    archive = Archive(folder, Decisions(keep_days=7), clock, thread=False)
    decision = make_decision(os.urandom(16), clock.now())
    archive.put(encode(decision))
    for _ in range(9):
        archive.step()
        assert (find_all(folder, [decision]) == 1) == (clock.now() <= NOW + 7 * DAY)
        clock.advance(DAY)
    archive.step()
    assert find_all(folder, [decision]) == 0
    assert archive.kept == 1
    archive.close()


def test_the_room_is_bounded_and_the_oldest_go(folder: Path, clock: ManualClock) -> None:
    most = 1 << 20
    hand = Hand(folder, clock, Options(segment_bytes=16_384, cap_bytes=most, sync_every=1.0, hold=2048))
    retention, made, largest = Retention(folder), [], 0
    for _ in range(200):
        made += hand.put(25)
        clock.advance(1.0)
        retention.keep(Terms(7 * DAY, most), clock.now())
        largest = max(largest, sum(path.stat().st_size for path in folder.iterdir()))
    assert largest <= most
    assert hand.writer.refused == 0, "there was always room for the newest"
    assert retention.evicted > 0
    shelf = Shelf(folder)
    found = [shelf.find(each.request, 0.0) is not None for each in made]
    assert found[-1000:] == [True] * 1000
    assert found == sorted(found), "none but the oldest went"


def test_a_full_disk_costs_records_and_nothing_else(folder: Path, clock: ManualClock) -> None:
    hand = Hand(folder, clock, Options(segment_bytes=16_384, cap_bytes=32_768, sync_every=1.0, hold=2048))
    kept = 0
    while hand.writer.put(encode(make_decision(os.urandom(16)))):
        kept += 1
        hand.writer.step()
    assert kept > 10
    assert hand.writer.refused == 1
    assert not hand.writer.healthy


def test_one_process_removes_at_a_time(hand: Hand, folder: Path, clock: ManualClock) -> None:
    import fcntl

    hand.put(100)
    clock.advance(8 * DAY)
    with (folder / "retention.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Retention(folder).keep(Terms(7 * DAY, 1 << 30), clock.now())
        assert not list(folder.glob(f"*{SUFFIX}"))
    Retention(folder).keep(Terms(7 * DAY, 1 << 30), clock.now())
    assert len(list_segments(folder).popitem()[1]) <= 2


def test_any_damaged_byte_costs_at_most_its_own_record(folder: Path, clock: ManualClock) -> None:
    hand = Hand(folder, clock, Options(segment_bytes=8192, cap_bytes=1 << 30, sync_every=1.0, hold=2048))
    made = hand.put(5)
    hand.writer.close()
    Retention(folder).keep(Terms(7 * DAY, 1 << 30), clock.now())
    files = sorted(path for path in folder.iterdir() if path.suffix in (".seg", SUFFIX))
    assert [path.suffix for path in files] == [SUFFIX, ".seg"]
    for path in files:
        whole = path.read_bytes()
        for at in range(min(len(whole), 2400)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
            lost = len(made) - find_all(folder, made)
            assert lost <= (path.suffix == ".seg"), f"{path.suffix} at {at}"
        for end in range(0, len(whole), 97):
            path.write_bytes(whole[:end])
            find_all(folder, made)
        path.write_bytes(whole)
    assert find_all(folder, made) == 5


def test_foreign_files_are_left_alone(hand: Hand, folder: Path, clock: ManualClock, tmp_path: Path) -> None:
    made = hand.put(3)
    (folder / "notes.txt").write_text("mine")
    target = tmp_path / "target"
    target.write_bytes(b"x" * 9000)
    stream = hand.writer.stream
    (folder / stream._replace(token=1).segment(1)).symlink_to(target)
    (folder / stream._replace(token=2).segment(1)).mkdir()
    Retention(folder).keep(Terms(7 * DAY, 1 << 30), clock.now())
    assert find_all(folder, made) == 3
    assert (folder / "notes.txt").read_text() == "mine"
    assert target.exists()


def test_an_index_of_nothing_and_of_twins(tmp_path: Path) -> None:
    segment = tmp_path / "a.seg"
    write_index(segment, [])
    found = read_index(segment)
    assert found is not None
    assert list(found.find(bytes(8))) == []
    write_index(segment, [(b"b" * 8, 7), (b"a" * 8, 1), (b"b" * 8, 3)])
    found = read_index(segment)
    assert found is not None
    assert list(found.find(b"b" * 8)) == [3, 7]
    assert list(found.find(b"c" * 8)) == []
    index_path(segment).write_bytes(b"")
    assert read_index(segment) is None


def test_segments_are_a_part_of_the_room() -> None:
    for workers in (1, 3, 64, 1024):
        size = segment_size(64 * MIB, workers)
        assert size % 4096 == 0
        assert 8192 <= size <= 4 * MIB
    assert segment_size(1024 * MIB, 1) == 4 * MIB


WRITER = """
import sys
from pathlib import Path
from fastpath.explain.archive import Archive
from fastpath.explain.decision import encode
from fastpath.settings.decisions import Decisions
from scheduler.clock import SystemClock
from tests.explain.decided import make_decision
archive = Archive(Path(sys.argv[1]), Decisions(), SystemClock())
number = 0
while True:
    number += 1
    if archive.put(encode(make_decision(number.to_bytes(16, "little"), SystemClock().now()))):
        print(number, flush=True)
"""


def test_a_killed_worker_loses_none_that_it_put(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    put = [int(process.stdout.readline()) for _ in range(500)]
    process.send_signal(signal.SIGKILL)
    put += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.wait()
    shelf, few = Shelf(folder), put[:50] + put[-50:]
    assert all(shelf.find(number.to_bytes(16, "little"), 0.0) is not None for number in few)
    Retention(folder).keep(Terms(7 * DAY, 1 << 30), time.time())
    assert list(folder.glob(f"*{SUFFIX}")), "whoever is left gives its segments an index"
    assert not list(folder.glob("*.new"))
    assert all(shelf.find(number.to_bytes(16, "little"), 0.0) is not None for number in few)


async def test_a_search_that_fails_finds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(folder, Decisions(), ManualClock(now=NOW), thread=False)

    def broken(*_: object) -> None:
        raise RuntimeError("of a test")

    monkeypatch.setattr(Shelf, "find", broken)
    answer: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
    archive.look_up(bytes(16), answer.set_result)
    assert await answer is None
    archive.close()
