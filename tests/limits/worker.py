"""A worker of a node for the tests: joins the arena of FOLDER and asks when it is told to. Run: worker.py FOLDER.

Reads lines `WORD ...` and answers each with one line: `ask N MONEY` starts at a barrier (the file `go` growing) and
says how many of N requests were admitted; `hold N MONEY` the same, keeping them; `settle MONEY` ends what it holds;
`loop SEED` asks, marks and settles at random until it is killed.
"""

import os
import random
import sys
import time
from pathlib import Path

from _native.arena import digest
from _native.limiter import Allowance, Budget, Limiter, Rate, Ticket
from fastpath.arena import join_arena

SECRET = bytes(range(16))
SECOND = 1_000_000_000
NOW, FAR = SECOND, 1 << 60
DAY = 20_000
BUDGET = 10_000
PLACES = 12
BURST = 100_000


class Worker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arena = join_arena(folder, SECRET)
        self.held: list[Ticket] = []
        self.generation = 0

    def limiter(self, whole: int = BUDGET) -> Limiter:
        """What all workers share; another one for each generation, so that one node serves many repetitions."""
        name = str(self.generation)
        budgets = [
            Allowance(Budget(self.arena, digest("budget", name), 1), "money", whole, whole, whole),
            Allowance(Budget(self.arena, digest("rolling", name), 7), "money", whole, whole, whole),
        ]
        rates = [Rate(self.arena.bucket(digest("rate", name)), 1 << 10, BURST)]
        limiter = Limiter(self.arena, rates, [(self.arena.limit(digest("places", name)), 1_000)], budgets)
        for place in range(len(budgets)):
            limiter.turn(place, DAY, DAY - 1)
        return limiter

    def ask(self, generation: int, count: int, money: int) -> int:
        self.generation = generation
        limiter = self.limiter()
        while (self.folder / "go").stat().st_size <= generation:  # all at once: nobody sleeps here
            pass
        found = [limiter.admit(NOW, FAR, 0, 0, money) for _ in range(count)]
        self.held = [ticket for ticket in found if isinstance(ticket, Ticket)]
        return len(self.held)

    def settle(self, money: int) -> int:
        ended = [ticket.settle(NOW, 0, 0, money) for ticket in self.held]
        return sum(result >= 0 for result in ended)

    def loop(self, seed: int) -> None:
        """Journals what each of its requests is about to cost before it can, and counts those that surely did."""
        chance = random.Random(seed)
        limiter = self.limiter(whole=1 << 50)
        journal = os.open(self.folder / f"journal-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
        surely = perhaps = 0
        while True:
            ticket = limiter.admit(time.monotonic_ns(), FAR, 0, 0, 40)
            if not isinstance(ticket, Ticket):
                continue
            cost = chance.randrange(3)
            if chance.random() < 0.5:
                perhaps += cost
                os.pwrite(journal, b"%20d %20d" % (surely, perhaps), 0)
                ticket.mark(0, cost)
                ticket.settle(NOW, 0, 0, cost)
                surely += cost
            else:
                ticket.void(NOW)
            os.pwrite(journal, b"%20d %20d" % (surely, perhaps), 0)


def main() -> None:
    worker = Worker(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        word, *numbers = line.split()
        print(getattr(worker, word)(*map(int, numbers)), flush=True)


if __name__ == "__main__":
    main()
