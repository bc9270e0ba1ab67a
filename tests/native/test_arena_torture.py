"""Four workers on one arena, killed at random for some seconds; afterwards every sum is what it must be."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from _native.arena import Gate, Lease, Sizes, digest
from fastpath.arena import join_arena, open_arena
from tests.native import arena_worker as life

ROOT = Path(__file__).parents[2]
WORKERS = 4
SECONDS = 2.5
SIZES = Sizes(workers=8, series=64, histograms=16, lanes=16, buckets=64, limits=64, leases=256, cells=16, samples=16)


class Fleet:
    """Workers by number, the arena they share, and their journal."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        for name in (f"place-{i}" for i in range(life.MOST)):
            (folder / name).touch()
        (folder / "journal").write_bytes(bytes(8 * life.LINE * WORKERS))
        self.folder = folder
        self.arena = open_arena(folder, life.SECRET, SIZES, now=life.NOW, say=pytest.fail)
        self.journal = life.read_journal(folder / "journal")
        self.workers = {number: self.start(number, number) for number in range(WORKERS)}

    def start(self, number: int, seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.native.arena_worker", str(self.folder), str(number), str(seed)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def kill(self, number: int) -> None:
        worker = self.workers[number]
        worker.kill()
        assert worker.wait() in (-9, 0)
        self.close(worker)

    def close(self, worker: subprocess.Popen[str]) -> None:
        for pipe in (worker.stdin, worker.stdout):
            assert pipe is not None
            pipe.close()

    def in_use(self, *words: str) -> int:
        return self.arena.limit(digest(*words)).in_use

    def sum_of(self, column: int) -> int:
        return sum(self.journal[number * life.LINE + column] for number in range(WORKERS))


@pytest.fixture
def fleet(tmp_path: Path):
    made = Fleet(tmp_path)
    yield made
    for worker in made.workers.values():
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def wait_for_work(fleet: Fleet, number: int) -> None:
    """Until a worker counted something more: it runs."""
    column = number * life.LINE + life.DONE
    before = fleet.journal[column]
    deadline = time.monotonic() + 30
    while fleet.journal[column] == before:
        assert fleet.workers[number].poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.alone
def test_random_kills_leave_every_sum_exact(fleet: Fleet) -> None:
    chance = random.Random(11)
    kills = 0
    for number in range(WORKERS):
        wait_for_work(fleet, number)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        number = chance.randrange(WORKERS)
        time.sleep(chance.uniform(0, 0.02))  # the moment of death is the fault injected
        assert fleet.workers[number].poll() is None, "more were inside than may be"
        fleet.kill(number)
        kills += 1
        began = time.monotonic()
        fleet.arena.reap(life.NOW)
        assert fleet.in_use("own", str(number)) == 0
        assert time.monotonic() - began < 1.0
        fleet.workers[number] = fleet.start(number, 1_000 + kills)
        wait_for_work(fleet, number)
    check_the_living(fleet)
    check_the_dead(fleet, kills)


def check_the_living(fleet: Fleet) -> None:
    """All stand still: what is in use is what they hold, and they hold the only lanes."""
    for number in range(WORKERS):
        fleet.journal[number * life.LINE + life.STOP] = 1
    held = []
    for worker in fleet.workers.values():
        assert worker.stdout is not None
        held.append(int(worker.stdout.readline()))
    fleet.arena.reap(life.NOW)
    assert [fleet.in_use("own", str(number)) for number in range(WORKERS)] == held
    assert fleet.in_use("wide") == sum(held)
    assert fleet.in_use("everyone") == 0
    assert fleet.arena.rows_used["leases"] == sum(held)
    (lane,) = [row.value for row in fleet.arena.series() if row.family == "in_flight"]
    assert lane == sum(held)


def check_the_dead(fleet: Fleet, kills: int) -> None:
    """All are gone: nothing is in use, and what was counted lies between what was meant and what was done."""
    for worker in fleet.workers.values():
        worker.communicate(timeout=30)
    assert fleet.arena.reap(life.NOW)[0] == WORKERS
    assert fleet.in_use("wide") == fleet.in_use("everyone") == fleet.arena.rows_used["leases"] == 0
    found = {row.family: row.value for row in fleet.arena.series()}
    counted, took = found["done"], found["took"]
    meant, done = fleet.sum_of(life.MEANT), fleet.sum_of(life.DONE)
    assert done <= counted <= meant
    assert meant - done <= 4 * kills  # a killed worker leaves at most one step open
    assert counted - 4 * kills <= took.sum_us <= counted
    assert found["in_flight"] == 0


def test_a_bucket_is_spent_once_by_all(fleet: Fleet) -> None:
    bucket = fleet.arena.bucket(digest("spent"))
    deadline = time.monotonic() + 30
    while bucket.take(life.NOW, 0, 1 << 40, life.BURST)[2] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bucket.take(life.NOW, 0, 1 << 40, life.BURST) == (True, 0, 0)
    for number in range(WORKERS):
        fleet.journal[number * life.LINE + life.STOP] = 1
    for worker in fleet.workers.values():
        worker.communicate(timeout=30)
    assert fleet.sum_of(life.CHARGED) == life.BURST


@pytest.mark.alone
def test_a_dead_workers_leases_are_back_within_a_second(fleet: Fleet) -> None:
    """As the supervisor does it: waitpid, then reap; the caller after that is admitted again."""
    wait_for_work(fleet, 0)
    watch = join_arena(fleet.folder, life.SECRET)
    while fleet.in_use("own", "0") == 0:
        wait_for_work(fleet, 0)
    began = time.monotonic()
    fleet.kill(0)
    assert fleet.arena.reap(life.NOW)[0] == 1
    assert fleet.in_use("own", "0") == 0
    assert isinstance(Gate(watch, [], [(watch.limit(digest("own", "0")), 1)]).admit(life.NOW, life.FAR), Lease)
    assert time.monotonic() - began < 1.0
