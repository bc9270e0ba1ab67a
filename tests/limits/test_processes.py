"""Exact over real processes: a budget for ten admits ten, a rejection changes nothing, the dead give back."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from _native.arena import Arena, Sizes, digest
from _native.limiter import Limiter
from fastpath.arena import join_arena, open_arena
from tests.limits import worker as life

ROOT = Path(__file__).parents[2]
SIZES = Sizes(workers=16, series=64, histograms=16, lanes=16, buckets=1024, limits=512, leases=512, budgets=1024)
CALLERS = 64
COST = life.BUDGET // 10
REPETITIONS = 100


class Fleet:
    """Workers in their own processes, and this one's view of their arena."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arena = open_arena(folder, life.SECRET, SIZES, now=life.NOW, say=pytest.fail)
        self.view = life.Worker(folder)
        self.workers: list[subprocess.Popen[str]] = []
        (folder / "go").touch()

    def start(self, count: int) -> None:
        command = [sys.executable, "-m", "tests.limits.worker", str(self.folder)]
        for _ in range(count):
            self.workers.append(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for worker in self.workers[-count:]:
            assert self.answer(worker) == "ready"

    def tell(self, worker: subprocess.Popen[str], *words: object) -> None:
        assert worker.stdin is not None
        worker.stdin.write(" ".join(map(str, words)) + "\n")
        worker.stdin.flush()

    def answer(self, worker: subprocess.Popen[str]) -> str:
        assert worker.stdout is not None
        return worker.stdout.readline().strip()

    def go(self) -> None:
        with (self.folder / "go").open("ab") as file:
            file.write(b"!")

    def state(self, generation: int = 0) -> tuple[Limiter, int]:
        """The shared limiter as this process sees it, and the places taken."""
        self.view.generation = generation
        return self.view.limiter(), self.arena.limit(digest("places", str(generation))).in_use

    def kill(self, worker: subprocess.Popen[str]) -> None:
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            assert pipe is not None
            pipe.close()
        self.workers.remove(worker)


@pytest.fixture
def fleet(folder: Path) -> Iterator[Fleet]:
    made = Fleet(folder)
    yield made
    for worker in list(made.workers):
        made.kill(worker)


@pytest.fixture
def wait() -> Callable[[Callable[[], object]], None]:
    def until(true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return until


@pytest.mark.parametrize("workers", [1, 3])
def test_lesson_4_sixty_four_first_requests_on_a_budget_for_ten(fleet: Fleet, workers: int) -> None:
    """Check-then-act lets most of them through. Here what is admitted is the budget, 100 times of 100."""
    fleet.start(workers)
    share = -(-CALLERS // workers)
    for generation in range(REPETITIONS):
        for worker in fleet.workers:
            fleet.tell(worker, "ask", generation, share, COST)
        fleet.go()
        admitted = sum(int(fleet.answer(worker)) for worker in fleet.workers)
        assert admitted * COST <= life.BUDGET
        assert admitted == 10
        limiter, places = fleet.state(generation)
        assert limiter.tightest(life.NOW, 0) == (0, life.BURST - 10, 10 << 10)  # the rejected were charged nothing
        assert (limiter.committed(0)[:2], limiter.committed(1)[:2], places) == (
            (life.BUDGET, life.BUDGET), (life.BUDGET, life.BUDGET), 10,
        )  # fmt: skip


def test_what_is_settled_leaves_exactly_what_it_cost(fleet: Fleet) -> None:
    fleet.start(3)
    for worker in fleet.workers:
        fleet.tell(worker, "ask", 0, 30, 100)
    fleet.go()
    admitted = sum(int(fleet.answer(worker)) for worker in fleet.workers)
    for number, worker in enumerate(fleet.workers):
        fleet.tell(worker, "settle", number + 1)
    settled = [int(fleet.answer(worker)) for worker in fleet.workers]
    assert sum(settled) == admitted == 90
    limiter, places = fleet.state()
    expected = sum(count * (number + 1) for number, count in enumerate(settled))
    assert (limiter.committed(0), limiter.committed(1), places) == ((expected, 0, life.DAY), (expected, 0, life.DAY), 0)


@pytest.mark.alone
def test_F33_a_killed_workers_hold_is_back_within_a_second(fleet: Fleet) -> None:
    fleet.start(2)
    for worker in fleet.workers:
        fleet.tell(worker, "ask", 0, 5, COST)
    fleet.go()
    assert [fleet.answer(worker) for worker in fleet.workers] == ["5", "5"]
    began = time.monotonic()
    fleet.kill(fleet.workers[0])
    fleet.arena.reap(life.NOW)
    limiter, places = fleet.state()
    assert (limiter.committed(0)[:2], places) == ((5 * COST, 5 * COST), 5)
    assert time.monotonic() - began < 1.0


def test_lesson_2_and_5_random_kills_leak_no_place_and_no_money(fleet: Fleet, wait) -> None:
    """Four workers live, spend, mark, void and are killed anywhere: afterwards nothing is in use, nothing is reserved,
    and the budget holds what was settled, give or take the one request that each of the killed had in hand."""
    fleet.start(4)
    for seed, worker in enumerate(fleet.workers):
        fleet.tell(worker, "loop", seed)
    journals: list[Path] = []
    kills = 0
    while kills < 12:
        worker = fleet.workers[0]
        journal = fleet.folder / f"journal-{worker.pid}"
        wait(lambda path=journal: path.exists() and path.stat().st_size > 0)
        before = journal.read_bytes()
        wait(lambda path=journal, text=before: path.read_bytes() != text)
        journals.append(journal)
        fleet.kill(worker)
        kills += 1
        fleet.arena.reap(life.NOW)
        if kills <= 8:
            fleet.start(1)
            fleet.tell(fleet.workers[-1], "loop", 100 + kills)
    fleet.arena.reap(life.NOW)
    sums = [tuple(map(int, path.read_bytes().split())) for path in journals]
    limiter, places = fleet.state()
    spent, reserved, _ = limiter.committed(0)
    assert places == 0
    assert fleet.arena.rows_used["leases"] == 0
    assert sum(surely for surely, _ in sums) <= spent + reserved <= sum(perhaps for _, perhaps in sums) + 40 * kills
    assert sum(surely for surely, _ in sums) <= spent <= sum(perhaps for _, perhaps in sums)
    assert limiter.committed(1)[0] == spent


def test_limits_survive_all_workers_and_the_supervisor(folder: Path) -> None:
    first = Fleet(folder)
    first.start(1)
    first.tell(first.workers[0], "ask", 0, 4, COST)
    first.go()
    assert first.answer(first.workers[0]) == "4"
    first.tell(first.workers[0], "settle", COST)
    assert first.answer(first.workers[0]) == "4"
    first.kill(first.workers[0])
    del first
    again = open_arena(folder, life.SECRET, SIZES, now=life.NOW, say=pytest.fail)
    assert isinstance(again, Arena)
    assert again.rows_used["budgets"] == 3
    joined = life.Worker(folder)
    assert joined.limiter().committed(0) == (4 * COST, 0, life.DAY)
    assert join_arena(folder, life.SECRET).workers()
    assert os.getpid() in [pid for _, pid, _ in joined.arena.workers()]
