"""Nodes with arenas of their own on one virtual clock, and requests that their workers would admit."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from _native.arena import Arena, Sizes
from fastpath.limits.admission import Rejection, Ticket, admit
from fastpath.limits.book import Book
from fastpath.limits.plan import Plan
from fastpath.limits.thresholds import Crossing
from fastpath.settings.file import load
from fastpath.shares.keeper import TICK, Keeper
from scheduler.clock import ManualClock
from tests.shares.twin import Twin, TwinExchange

SECRET = bytes(range(16))
SIZES = Sizes(workers=4, series=16, lanes=16, histograms=1, buckets=64, limits=64, leases=4096, cells=256, samples=16,
              budgets=64)  # fmt: skip
MODELS = """
shared: {nodes: 1}
models:
  - {name: llama, endpoints: [{url: "http://127.0.0.1:9001/v1"}]}
"""


def new_arena() -> Arena:
    arena = Arena.anonymous(SECRET, SIZES)
    arena.join()
    return arena


class Node:
    """A node: its keeper, and one of its workers."""

    def __init__(self, name: str, text: str, twin: Twin, folder: Path, clock: ManualClock, arena: Arena | None = None):
        text = textwrap.dedent(text).replace("HASH", f"b2:01234567:{0:064x}")
        self.settings = load(text + MODELS, {})
        self.name = name
        self.clock = clock
        self.arena = arena or new_arena()
        self.folder = folder
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.exchange = TwinExchange(twin, name)
        self.said: list[str] = []
        self.told: list[Crossing] = []
        self.keeper = Keeper(self.arena, 1, self.folder, self._connect, clock, self.said.append)
        self.keeper.begin(self.settings)
        self.plan: Plan = Book(self.settings, self.arena).plan("k", "llama")
        self.held: list[Ticket] = []
        self.reserved: list[int] = []

    def _connect(self, life: int) -> TwinExchange:
        self.exchange.life = life
        return self.exchange

    def ask(self, money: int = 0, output: int = 0) -> Ticket | Rejection:
        now, wall = self.clock.monotonic(), self.clock.now()
        return admit(self.plan, now, wall, 0, output, money, self.told.append)

    def admits(self, money: int = 0, output: int = 0) -> bool:
        """Whether a request passes; what it holds is kept."""
        found = self.ask(money, output)
        if isinstance(found, Ticket):
            self.held.append(found)
            self.reserved.append(money)
        return isinstance(found, Ticket)

    def settle(self, money: int = 0) -> None:
        for ticket in self.held:
            ticket.settle(self.clock.monotonic(), 0, 0, money)
        self.held.clear()
        self.reserved.clear()


class World:
    """Some nodes before one Redis."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(now=1_790_000_000.0)
        self.clock.advance(1_000.0)
        self.twin = Twin()
        self.nodes: list[Node] = []

    def add(self, text: str, name: str | None = None, arena: Arena | None = None) -> Node:
        name = name or f"n{len(self.nodes)}"
        self.nodes.append(Node(name, text, self.twin, self.folder / name, self.clock, arena))
        return self.nodes[-1]

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.twin.now += round(seconds * 1000)

    async def round(self) -> None:
        for node in self.nodes:
            await node.keeper.tick()

    async def settle(self, seconds: float = 5.0) -> None:
        """So many seconds of rounds."""
        for _ in range(round(seconds / TICK)):
            self.advance(TICK)
            await self.round()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


Make = Callable[..., World]
