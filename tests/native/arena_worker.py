"""One life of a worker in the torture: works until told to stop or killed. Run: arena_worker.py FOLDER NUMBER SEED.

What it did is in its own line of FOLDER/journal, as it goes: what it is about to do is written before, what it has done
after, so whoever reads the line of a killed worker knows every sum but for the last step.
"""

import fcntl
import mmap
import os
import random
import sys
from pathlib import Path

from _native.arena import Gate, Lease, digest
from fastpath.arena import join_arena

SECRET = bytes(range(16))
NOW, FAR = 1_000_000_000, 1 << 60
MOST = 3
BURST = 4_000
LINE = 8
STOP, MEANT, DONE, CHARGED = range(4)
OUTGREW = 3  # exit status: more were inside than may be


def read_journal(path: Path) -> memoryview:
    """The journal's 64-bit numbers, LINE of them per worker."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


class Worker:
    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.arena = join_arena(folder, SECRET)
        self.chance = random.Random(seed)
        self.journal = read_journal(folder / "journal")[number * LINE : (number + 1) * LINE]
        self.places = [os.open(folder / f"place-{i}", os.O_RDWR) for i in range(MOST)]
        self.counter = self.arena.counter("done", ("all",))
        self.histogram = self.arena.histogram("took", ("all",))
        self.lane = self.arena.lane("in_flight", ("all",))
        everyone, own = self.arena.limit(digest("everyone")), self.arena.limit(digest("own", str(number)))
        spent = self.arena.bucket(digest("spent"))
        self.narrow = Gate(self.arena, [(spent, 1 << 40, BURST)], [(everyone, MOST), (own, 1_000)])
        self.wide = Gate(self.arena, [], [(own, 1_000), (self.arena.limit(digest("wide")), 1_000)])
        self.held: list[Lease] = []

    def run(self) -> int:
        """Until told to stop; leaves some leases held and says how many, and how many are in flight."""
        while not self.journal[STOP]:
            self.count()
            self.hold()
            self.visit()
        print(len(self.held), flush=True)
        sys.stdin.read()
        os._exit(0)  # as abrupt as a kill: nothing is released

    def count(self) -> None:
        n = self.chance.randrange(1, 5)
        self.journal[MEANT] += n
        self.counter.add(n)
        self.histogram.record(n)
        self.journal[DONE] += n

    def hold(self) -> None:
        """Keeps up to 20 leases of wide limits, each of them in flight."""
        if len(self.held) < 20 and self.chance.random() < 0.5:
            lease = self.wide.admit(NOW, FAR)
            if isinstance(lease, Lease):
                self.held.append(lease)
                self.lane.add(1)
        elif self.held:
            self.held.pop(self.chance.randrange(len(self.held))).release()
            self.lane.add(-1)

    def visit(self) -> None:
        """Goes where only MOST may be at once: there is a lock for each, which the kernel frees when we die."""
        cost = int(self.chance.random() < 0.2)
        lease = self.narrow.admit(NOW, FAR, (cost,))
        if not isinstance(lease, Lease):
            return
        self.journal[CHARGED] += cost
        place = next((place for place in self.places if self.lock(place)), None)
        if place is None:
            os._exit(OUTGREW)
        os.sched_yield()  # so that others come while we are inside
        fcntl.flock(place, fcntl.LOCK_UN)
        lease.release()

    def lock(self, place: int) -> bool:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


if __name__ == "__main__":
    sys.exit(Worker(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).run())
