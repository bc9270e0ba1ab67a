"""Which keys are known: one taker of each, across processes and deaths, clocks and damage."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastpath.idempotency.moment import SECOND, Moment, take_moment
from fastpath.idempotency.slot import SEALED, SLOT_SIZE, Mark, Place, Reason, Slot, State, open_slot, seal_slot
from fastpath.idempotency.table import BUCKET, Table, table_name
from fastpath.idempotency.verdict import Busy, Conflict, Full, Kept, Lost, Running, Taken
from scheduler.clock import ManualClock

SECRET = bytes(32)
DAY = 86_400 * SECOND
BOOT, OTHER_BOOT = b"boot-one", b"boot-two"
ID = bytes(16)
ROOT = Path(__file__).parents[2]


def mark(key: int, body: int = 0) -> Mark:
    return Mark(key.to_bytes(16, "little"), b"body%012d" % body)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Node:
    """Tables over one file, as workers have them."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.path = path
        self.clock = clock
        self.boot = BOOT
        self.tables: list[Table] = []

    def open(self, keys: int = BUCKET) -> Table:
        self.tables.append(Table.open(self.path, keys, SECRET))
        return self.tables[-1]

    @property
    def now(self) -> Moment:
        return take_moment(self.clock, self.boot)

    def take(self, table: Table, mark: Mark, reason: Reason = Reason.NONE) -> object:
        return table.take(mark, ID, self.now, DAY, reason)

    def taken(self, table: Table, mark: Mark) -> Taken:
        found = self.take(table, mark)
        assert isinstance(found, Taken)
        return found

    def charged(self, table: Table, mark: Mark, reason: Reason = Reason.NONE) -> Taken:
        found = self.taken(table, mark)
        table.note(found.index, replace(found.slot, state=State.CHARGED, reason=reason))
        return found

    def kept(self, table: Table, mark: Mark) -> Taken:
        found = self.taken(table, mark)
        table.note(found.index, replace(found.slot, state=State.KEPT, place=Place(b"segment0", 7, 9)))
        return found


@pytest.fixture
def node(tmp_path: Path, clock: ManualClock) -> Iterator[Node]:
    made = Node(tmp_path / "keys", clock)
    yield made
    for table in made.tables:
        table.close()


def test_a_key_is_taken_once_by_whomever(node: Node) -> None:
    one, two = node.open(), node.open()
    assert isinstance(node.take(one, mark(1)), Taken)
    node.clock.advance(3)
    for table in (one, two):
        assert node.take(table, mark(1)) == Running(3 * SECOND)
        assert node.take(table, mark(1, body=2)) == Conflict()
    assert isinstance(node.take(two, mark(2)), Taken)


def test_a_forgotten_key_is_free_for_another_body_too(node: Node) -> None:
    one, two = node.open(), node.open()
    found = node.taken(one, mark(1))
    one.forget(found.index)
    assert isinstance(node.take(two, mark(1, body=2)), Taken)


def test_a_kept_answer_has_its_place(node: Node) -> None:
    one, two = node.open(), node.open()
    node.kept(one, mark(1))
    found = node.take(two, mark(1))
    assert isinstance(found, Kept)
    assert found.slot.place == Place(b"segment0", 7, 9)
    assert node.take(two, mark(1, body=2)) == Conflict()


@pytest.mark.parametrize("reason", [Reason.WITHHELD, Reason.TOO_LARGE, Reason.NO_ROOM])
def test_an_answer_that_is_not_kept_says_why(node: Node, reason: Reason) -> None:
    table = node.open()
    found = node.charged(table, mark(1), reason)
    assert isinstance(node.take(table, mark(1)), Running)
    table.note(found.index, replace(found.slot, state=State.LOST, reason=reason))
    for other in (table, node.open()):
        assert node.take(other, mark(1)) == Lost(reason)


def test_the_dead_let_go_of_what_they_had_not_charged(node: Node) -> None:
    dying, other = Table.open(node.path, BUCKET, SECRET), node.open()
    node.taken(dying, mark(1))
    node.charged(dying, mark(2))
    assert isinstance(node.take(dying, mark(3), Reason.UNSURE), Taken)
    for key in (1, 2, 3):
        assert isinstance(node.take(other, mark(key)), Running)
    dying.close()
    assert isinstance(node.take(other, mark(1)), Taken)
    assert node.take(other, mark(2)) == Lost(Reason.BROKEN_OFF)
    assert node.take(other, mark(3)) == Lost(Reason.UNSURE)


def test_what_a_killed_process_held_is_known_at_once(node: Node) -> None:
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2]); from tests.idempotency.test_table import *\n"
        "node = Node(pathlib.Path(sys.argv[1]), ManualClock()); table = node.open()\n"
        "node.taken(table, mark(1)); node.charged(table, mark(2)); node.kept(table, mark(3))\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(node.path), str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        table = node.open()
        assert isinstance(node.take(table, mark(1)), Running)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert isinstance(node.take(table, mark(1)), Taken)
    assert node.take(table, mark(2)) == Lost(Reason.BROKEN_OFF)
    assert isinstance(node.take(table, mark(3)), Kept)


def test_keys_survive_all_processes(node: Node) -> None:
    table = Table.open(node.path, BUCKET, SECRET)
    node.kept(table, mark(1))
    table.close()
    assert isinstance(node.take(node.open(), mark(1)), Kept)


@pytest.mark.parametrize("jump", [-400 * 86_400, -3_600, 3_600, 86_400, 400 * 86_400])
def test_a_jump_of_the_wall_clock_changes_nothing(node: Node, jump: float) -> None:
    table = node.open()
    node.kept(table, mark(1))
    node.clock._now += jump
    assert isinstance(node.take(table, mark(1)), Kept)
    node.clock.advance(86_400)
    assert isinstance(node.take(table, mark(1)), Taken)


def test_a_day_later_a_key_is_free(node: Node) -> None:
    table = node.open()
    node.kept(table, mark(1))
    node.clock.advance(86_399)
    assert isinstance(node.take(table, mark(1)), Kept)
    node.clock.advance(2)
    assert isinstance(node.take(table, mark(1, body=2)), Taken)


def test_over_a_reboot_the_wall_clock_counts(node: Node) -> None:
    table = node.open()
    node.kept(table, mark(1))
    node.boot, node.clock._monotonic = OTHER_BOOT, 1.0
    node.clock._now += 3_600
    assert isinstance(node.take(table, mark(1)), Kept)
    node.clock._now -= 10 * 86_400
    assert isinstance(node.take(table, mark(1)), Kept)
    node.clock._now += 12 * 86_400
    assert isinstance(node.take(table, mark(1)), Taken)


def test_a_full_table_takes_no_more_until_keys_are_old(node: Node) -> None:
    table = node.open()
    for key in range(BUCKET):
        node.kept(table, mark(key))
    assert node.take(table, mark(BUCKET)) == Full()
    assert isinstance(node.take(table, mark(0)), Kept)
    node.clock.advance(86_400)
    assert isinstance(node.take(table, mark(BUCKET)), Taken)
    assert isinstance(node.take(table, mark(BUCKET + 1)), Taken)


def test_running_requests_are_never_put_out_of_a_full_table(node: Node) -> None:
    one, two = node.open(), node.open()
    for key in range(BUCKET):
        node.taken(one if key % 2 else two, mark(key))
    node.clock.advance(10 * 86_400)
    assert node.take(one, mark(BUCKET)) == Full()
    assert isinstance(node.take(one, mark(0)), Running)


@pytest.mark.parametrize("at", range(SEALED))
def test_a_slot_with_a_wrong_byte_is_none(at: int) -> None:
    slot = Slot(State.KEPT, mark(1), ID, Moment(BOOT, 1, 2), Reason.NONE, Place(b"segment0", 7, 9))
    sealed = seal_slot(slot, 5, SECRET)
    assert open_slot(sealed, 5, SECRET) == slot
    damaged = bytearray(sealed)
    damaged[at] ^= 0x40
    assert open_slot(bytes(damaged), 5, SECRET) is None


def test_a_slot_opens_at_its_own_place_and_under_its_own_secret() -> None:
    slot = Slot(State.KEPT, mark(1), ID, Moment(BOOT, 1, 2))
    sealed = seal_slot(slot, 5, SECRET)
    assert open_slot(sealed, 6, SECRET) is None
    assert open_slot(sealed, 5, b"other" + bytes(27)) is None


def test_a_damaged_slot_is_a_miss(node: Node) -> None:
    table = node.open()
    found = node.kept(table, mark(1))
    at = node.path.read_bytes().find(mark(1).key)
    with node.path.open("r+b") as file:
        file.seek(at + 70)
        file.write(b"\xff" * 8)
    again = node.take(table, mark(1))
    assert isinstance(again, Taken)
    assert again.index == found.index


def test_a_file_that_is_no_table_is_made_anew(node: Node) -> None:
    node.path.write_bytes(b"x" * 5_000)
    table = node.open()
    assert isinstance(node.take(table, mark(1)), Taken)
    assert node.path.stat().st_mode & 0o777 == 0o600


def test_a_bucket_that_somebody_stays_in_is_busy_and_not_waited_for(node: Node) -> None:
    one, two = node.open(), node.open()
    assert one._lock_bucket(0)
    assert node.take(two, mark(1)) == Busy()


def test_a_table_of_another_size_goes_when_nobody_has_it(tmp_path: Path) -> None:
    path = tmp_path / table_name(64)
    table = Table.open(path, 64, SECRET)
    assert not Table.remove_unused(path)
    table.close()
    assert Table.remove_unused(path)
    assert os.listdir(tmp_path) == []


@given(damage=st.lists(st.tuples(st.integers(0, 12_000), st.binary(min_size=1, max_size=300)), min_size=1, max_size=8))
def test_no_damage_gives_a_wrong_place_or_stops_a_request(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    node = Node(tmp_path_factory.mktemp("table") / "keys", ManualClock())
    table = node.open()
    for key in range(40):
        node.kept(table, mark(key))
    with node.path.open("r+b") as file:
        for at, data in damage:
            file.seek(at % (4096 + BUCKET * SLOT_SIZE - len(data)))
            file.write(data)
    for key in range(40):
        found = node.take(table, mark(key))
        assert isinstance(found, (Taken, Kept))
        assert not isinstance(found, Kept) or found.slot.place == Place(b"segment0", 7, 9)
    table.close()
