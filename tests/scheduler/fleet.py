"""A fleet of model servers and the workers before it, in virtual time: what a picker does to callers.

Discrete events over the very tables and pickers of the product. An engine reads prompts one after the other at its
speed (first come, first served), which is what decides the time to the first token; answers then run for a while.
Workers know of each other what a tick says and of engines what a poll says, both late, as in the product.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import NamedTuple

from scheduler.ask import Ask
from scheduler.endpoint import EndpointTable
from scheduler.picker import PICKERS

TICK = 0.1


class Arrival(NamedTuple):
    """A request: when, and how many tokens its prompt has."""

    at: float
    tokens: int


class Sent(NamedTuple):
    """Where a request went and how long it waited for its first token. Seconds."""

    arrival: Arrival
    engine: int
    ttft: float


class Engine:
    """Reads `speed` tokens a second. polled: whether it says how much waits."""

    def __init__(self, speed: float, *, polled: bool = True) -> None:
        self.speed = speed
        self.polled = polled
        self.free_at = 0.0
        self.queue: list[tuple[float, int]] = []  # when each begins to be read, and its tokens

    def take(self, now: float, tokens: int) -> float:
        """Queues a prompt; when its first token comes."""
        begins = max(now, self.free_at)
        self.free_at = begins + tokens / self.speed
        self.queue.append((begins, tokens))
        return self.free_at

    def waiting(self, now: float) -> float:
        """Tokens of prompts that nobody reads yet: what engines report."""
        self.queue = [(begins, tokens) for begins, tokens in self.queue if begins > now]
        return float(sum(tokens for _, tokens in self.queue))


class Fleet:
    """Engines behind some workers that all use one picker and know the engines' speeds. poll: seconds between two looks
    at an engine. decode: seconds that an answer runs after its first token."""

    def __init__(
        self, engines: Sequence[Engine], picker: str, workers: int = 8, poll: float = 1.0, decode: float = 2.0
    ) -> None:
        self.engines = engines
        self.tables = [EndpointTable() for _ in range(workers)]
        self._pick = PICKERS[picker]
        self._slots = list(range(len(engines)))
        self._poll, self._decode = poll, decode
        self._random = Random(11)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        for table in self.tables:
            for slot, engine in enumerate(engines):
                table.expect(table.slot(slot, 1), slot, engine.speed, None)

    def run(self, arrivals: Iterable[Arrival], until: float) -> list[Sent]:
        """What became of all arrivals."""
        sent: list[Sent] = []
        for arrival in arrivals:
            table = self.tables[self._random.randrange(len(self.tables))]
            self._at(arrival.at, lambda now, table=table, arrival=arrival: sent.append(self._send(table, arrival, now)))
        for step in range(int(until / TICK)):
            self._at(1.0 + step * TICK, self._tell_each_other)
        for step in range(int(until / self._poll)):
            self._at(1.0 + step * self._poll, self._ask_engines)
        while self._events:
            now, _, act = heapq.heappop(self._events)
            act(now)
        return sent

    def _at(self, when: float, act: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, act))

    def _send(self, table: EndpointTable, arrival: Arrival, now: float) -> Sent:
        slot = self._pick(
            table, self._slots, Ask(arrival.tokens, now, self._random.getrandbits(64), self._random.random)
        )
        mark = table.load.send(slot, arrival.tokens)
        first = self.engines[slot].take(now, arrival.tokens)
        self._at(first, lambda now: self._read(table, slot, arrival, mark, now))
        return Sent(arrival, slot, first - now)

    def _read(self, table: EndpointTable, slot: int, arrival: Arrival, mark: float, now: float) -> None:
        table.load.settle(slot, arrival.tokens, mark)
        table.load.observe(slot, now - arrival.at, now)
        self._at(now + self._decode, lambda now: table.load.end(slot))

    def _tell_each_other(self, now: float) -> None:
        for slot in self._slots:
            tokens = sum(table.tokens[slot] for table in self.tables)
            running = sum(table.in_flight[slot] for table in self.tables)
            for table in self.tables:
                table.tokens_elsewhere[slot] = tokens - table.tokens[slot]
                table.in_flight_elsewhere[slot] = running - table.in_flight[slot]

    def _ask_engines(self, now: float) -> None:
        for slot, engine in enumerate(self.engines):
            if engine.polled:
                for table in self.tables:
                    table.load.note(slot, now, engine.waiting(now), 0.0, engine.speed)


def quantile(sent: Sequence[Sent], q: float) -> float:
    """Of the times to the first token."""
    return sorted(each.ttft for each in sent)[int(q * (len(sent) - 1))]
