"""Books made from a settings file's text over an arena of this process, and requests against them in virtual time."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from _native.arena import Arena
from fastpath.limits.admission import Rejection, Ticket, admit
from fastpath.limits.book import Book
from fastpath.limits.plan import Capacity, Plan
from fastpath.limits.thresholds import Crossing
from fastpath.settings.file import load
from scheduler.clock import ManualClock

SECRET = bytes(range(16))

MODELS = """
models:
  - {name: llama, endpoints: [{url: "http://127.0.0.1:9001/v1"}]}
  - {name: mini, endpoints: [{url: "http://127.0.0.1:9002/v1"}]}
"""


def hash_of(number: int) -> str:
    return f"b2:01234567:{number:064x}"


class Gate:
    """One worker's view: a book, plans that it keeps, and what its budgets told."""

    def __init__(self, text: str, arena: Arena, clock: ManualClock, capacity: Capacity | None = None) -> None:
        text = textwrap.dedent(text)
        for number in range(text.count("hash: HASH")):
            text = text.replace("hash: HASH", f"hash: {hash_of(number)}", 1)
        self.book = Book(load(text + ("" if "models:\n" in text else MODELS), {}), arena, capacity)
        self.clock = clock
        self.plans: dict[tuple[str | None, str], Plan] = {}
        self.told: list[Crossing] = []

    def plan(self, key: str | None = "k", model: str = "llama") -> Plan:
        return self.plans.setdefault((key, model), self.book.plan(key, model))

    def ask(
        self, key: str | None = "k", input: int = 0, output: int = 0, money: int = 0, model: str = "llama"
    ) -> Ticket | Rejection:
        now, wall = self.clock.monotonic(), self.clock.now()
        return admit(self.plan(key, model), now, wall, input, output, money, self._tell)

    def _tell(self, crossing: Crossing) -> None:
        if crossing.first:
            self.told.append(crossing)

    def take(self, key: str | None = "k", input: int = 0, output: int = 0, money: int = 0) -> Ticket:
        ticket = self.ask(key, input, output, money)
        assert isinstance(ticket, Ticket), ticket.cause
        return ticket

    def spend(self, money: int, key: str = "k") -> None:
        assert self.take(key, money=money).settle(self.clock.monotonic(), 0, 0, money)

    def refuse(self, key: str | None = "k", input: int = 0, output: int = 0, money: int = 0) -> Rejection:
        found = self.ask(key, input, output, money)
        assert isinstance(found, Rejection)
        return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now=1_790_000_000.0)  # 2026-09-21 14:13:20 UTC


@pytest.fixture
def arena() -> Arena:
    made = Arena.anonymous(SECRET)
    made.join()
    return made


@pytest.fixture
def gate(arena: Arena, clock: ManualClock) -> Callable[..., Gate]:
    def make(text: str, capacity: Capacity | None = None) -> Gate:
        return Gate(text, arena, clock, capacity)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path
