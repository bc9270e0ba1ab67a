"""The script of leases in Python, in virtual time: what it decides, without Redis. Tests hold the two together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastpath.publication.redis import Unreachable
from fastpath.shares.lease import Answer
from fastpath.shares.redis import Ask
from fastpath.shares.script import PATIENCE, ROUND, SETTLE_LEAST, SETTLE_MOST, SILENT


@dataclass
class Entry:
    life: int
    seq: int
    at: int
    held: int
    want: int
    used: int
    lapse: int
    asked: int = 0


@dataclass
class Limit:
    born: int
    most: int = 0
    holders: int = 0
    orphan: int = 0
    free_debt: int = 0
    free_at: int = 0
    nodes: dict[str, Entry] = field(default_factory=dict)


def fill(wants: dict[str, int], me: str, pool: int, now: int, *, hard: bool) -> int:
    """What one of several that share a pool gets."""
    if sum(wants.values()) <= pool:
        return wants[me] + (pool - sum(wants.values())) // len(wants)
    ranks = {name: (place + now // ROUND) % len(wants) for place, name in enumerate(sorted(wants), 1)}
    order = sorted(wants, key=lambda name: (0 if hard else wants[name], ranks[name]))
    for place, name in enumerate(order):
        part = min(wants[name], pool if hard else -(-pool // (len(order) - place)))
        pool -= part
        if name == me:
            return part
    raise AssertionError(me)


class Twin:
    """A Redis: `now` in milliseconds. `down`: it does not answer."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.limits: dict[str, Limit] = {}
        self.down = False

    def flush(self) -> None:
        self.limits.clear()

    def lease(self, node: str, life: int, seq: int, ask: Ask) -> Answer | None:
        now = self.now
        limit = self.limits.setdefault(ask.id, Limit(now, free_at=now))
        for name, entry in list(limit.nodes.items()):
            if name != node and now - entry.at > entry.lapse:
                del limit.nodes[name]
        mine = limit.nodes.get(node)
        if mine is not None and (life, seq) <= (mine.life, mine.seq):
            return None
        others = [entry for name, entry in limit.nodes.items() if name != node]
        total = sum(entry.held for entry in others)
        had = mine.held if mine is not None else 0
        if ask.hard and mine is not None and life > mine.life:
            limit.orphan += max(0, had - ask.held)
        age = now - limit.born
        limit.holders = max(limit.holders, ask.known)
        settled = age >= SETTLE_MOST or (age >= SETTLE_LEAST and len(others) + 1 >= limit.holders)
        if not settled:
            limit.most = max(limit.most, ask.remembered)
        else:
            if ask.hard and len(others) + 1 < limit.holders:
                limit.orphan = max(limit.orphan, limit.most - total - ask.held)
            limit.most = limit.holders = 0
        limit.free_debt, limit.free_at = max(0, limit.free_debt - (now - limit.free_at) * 1_000_000), now
        if ask.held < had:
            before, back = max(0, ask.total - total - had), had - ask.held
            limit.free_debt = (before * limit.free_debt + back * ask.debt) // (before + back)
        pool, wants = ask.total - ask.used - limit.orphan, {node: max(0, ask.wanted - ask.used)}
        for name, entry in limit.nodes.items():
            if name != node and now - entry.at > SILENT:
                pool -= entry.held
            elif name != node:
                pool -= entry.used
                wants[name] = max(0, entry.want - entry.used)
        target = ask.used + fill(wants, node, max(0, pool), now, hard=ask.hard)
        free = ask.total - total - limit.orphan - ask.held
        asked = 0
        if target > ask.held:
            asked = min(mine.asked, now) if mine is not None and mine.asked else now
        heard = min((entry.at for entry in others if now - entry.at <= SILENT), default=now)
        if ask.hard and heard < asked and now - asked < PATIENCE:
            settled = False
        held = min(target, ask.held + free) if ask.known and settled and free > 0 and target > ask.held else ask.held
        limit.nodes[node] = Entry(
            life,
            seq,
            now if ask.known else now - SILENT - 1,
            held,
            ask.wanted,
            ask.used,
            ask.lapse,
            asked if held < target else 0,
        )
        used = sum(entry.used for entry in others) + limit.orphan
        everything = total + held + limit.orphan
        return Answer(held, target, everything, used, limit.free_debt, len(others) + 1, settled)


class TwinExchange:
    """One node's end of a Twin, as `fastpath.shares.redis.Exchange` is of a Redis."""

    def __init__(self, twin: Twin, node: str, life: int = 1) -> None:
        self.twin = twin
        self.node = node
        self.life = life
        self.cut = False
        self.deaf = False
        self.meanwhile: Callable[[], object] = lambda: None  # what happens while an answer is on its way
        self._sequence = 0

    async def hello(self) -> int:
        self._reach()
        return len({name for limit in self.twin.limits.values() for name in limit.nodes} | {self.node})

    async def lease(self, asks: Sequence[Ask]) -> list[Answer | None]:
        self._reach()
        found = []
        for ask in asks:
            self._sequence += 1
            found.append(self.twin.lease(self.node, self.life, self._sequence, ask))
        self.meanwhile()
        if self.deaf:  # it was done, and the answer is lost
            raise Unreachable("lost")
        return found

    def _reach(self) -> None:
        if self.cut or self.twin.down:
            raise Unreachable("cut")
