"""Keeps a node's parts of what it shares with others: looks, asks and applies, four times a second.

Owns which limits are asked for in a round, what happens while nobody answers, and what is said about it. Rounds that
fail change nothing: workers go on with the parts they have, after LAPSE seconds with fair ones, and of hard budgets
with what they were given. After `FAILURES` of them in a row Redis is left alone for `REST` seconds. Concurrency: one
task; no request ever waits for it.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from _native.arena import Arena
from fastpath.limits.parts import Parts
from fastpath.limits.plan import Fund
from fastpath.publication.redis import Unreachable
from fastpath.settings import Settings
from fastpath.shares.lease import LAPSE, Answer, Want
from fastpath.shares.memory import Memory, Turn, read_memory, write_memory
from fastpath.shares.redis import Ask
from fastpath.shares.roster import list_shared
from fastpath.shares.rows import FundRow, RateRow, Row, SlotRow
from scheduler.clock import Clock

TICK: Final = 0.25
AT_ONCE: Final = 256
"""Limits that are looked at in one round, besides as many that were used lately."""
FAILURES: Final = 5
REST: Final = 1.0
SILENCE: Final = 1.0
"""Seconds without an answer after which answers to callers say so."""
REMEMBER_EVERY: Final = 1.0
OPEN_AHEAD: Final = 30.0
"""Seconds before a period of a budget begins at which its part is asked for."""
HELLO_EVERY: Final = 4
LEAVES: Final = 0
"""What a node that ends knows of others."""

Say = Callable[[str], None]


class Other(Protocol):
    """The other side: `fastpath.shares.redis.Exchange`."""

    async def hello(self) -> int: ...

    async def lease(self, asks: Sequence[Ask]) -> list[Answer | None]: ...


class Keeper:
    """Of one node. `connect` gives the other side for a life; `folder` is the state folder."""

    def __init__(self, arena: Arena, nodes: int, folder: Path, connect: Callable[[int], Other], clock: Clock, say: Say):
        self.rows: dict[str, Row] = {}
        self.failures = 0
        self.nodes = nodes
        self._least = nodes
        self._arena = arena
        self._parts = Parts(arena, nodes)
        self._folder = folder
        self._connect = connect
        self._other: Other | None = None
        self._clock = clock
        self._say = say
        self._turn = Turn(folder)
        self._memory = Memory()
        self._funds: dict[bytes, Fund] = {}
        self._failed = 0
        self._heard = clock.monotonic()
        self._remembered = float("-inf")
        self._rounds = 0
        self._next = 0
        self._said = ""
        self._doubted = False
        self._alone = False
        self._closing = False

    def begin(self, settings: Settings) -> None:
        """Takes the settings; the parts that a node has by itself are in place when this returns."""
        self.configure(settings)
        self._take_turn()

    def configure(self, settings: Settings) -> None:
        """Takes other settings: what stays the same goes on."""
        roster, now = list_shared(settings), self._clock.monotonic()
        self._funds = {id: fund for id, fund in roster.funds.items() if fund.hard}
        rows: dict[str, Row] = {}
        for rate_id, bound in roster.rates.items():
            rows[rate_id.hex()] = RateRow(self._arena, self._parts, bound, now)
        for slots_id, bound in roster.slots.items():
            rows[slots_id.hex()] = SlotRow(self._arena, self._parts, bound, now)
        old, self.rows = self.rows, rows
        if self._other is not None:
            self._open_periods({id: row for id, row in old.items() if isinstance(row, FundRow)})
            self._fall_back(missing=True)

    async def run(self) -> None:
        """Until it is cancelled. A mistake in here must not end a node whose workers serve."""
        while True:
            try:
                await self.tick()
            except Exception as bug:
                self._failed += 1
                self._tell(f"a bug in sharing limits, please report it, traffic goes on: {bug!r}")
            await asyncio.sleep(TICK if self._failed < FAILURES else REST)

    async def tick(self) -> bool:
        """One round; whether it was answered."""
        if self._closing or (self._other is None and not self._take_turn()):
            return False
        assert self._other is not None
        self._open_periods()
        answered = await self._round(self._other)
        if not self._closing:
            self._judge()
            await self._remember()
        return answered

    async def close(self, *, hand_over: bool) -> None:
        """Gives back what is not in use, unless another process of this node goes on with it. May be called twice."""
        self._closing = True
        other, self._other = self._other, None
        if other is None:
            return
        if not hand_over:
            await self._give_back(other)
            self._remembered = float("-inf")
            await self._remember(clean=True)
        self._turn.give()

    def problems(self) -> tuple[str, ...]:
        """What is wrong; traffic goes on all the same."""
        if not self._silent():
            return ()
        return ("Redis does not answer: this node goes on with its part of the limits that it shares",)

    def held(self) -> dict[tuple[str, ...], float]:
        """The mean part of each kind of limit that this node works by, as a share of the whole."""
        parts: dict[tuple[str, ...], list[float]] = {}
        for row in self.rows.values():
            parts.setdefault((row.kind,), []).append(row.lease.kept / max(1, row.lease.total))
        return {kind: sum(shares) / len(shares) for kind, shares in parts.items()}

    # -- the right to speak

    def _take_turn(self) -> bool:
        try:
            if not self._turn.take():
                return False
        except OSError as error:
            self._tell(f"limits are not shared: {self._folder} cannot be used ({error.strerror})")
            return False
        self._memory, problem = read_memory(self._folder)
        if problem:
            self._say(problem)
        life = max(self._memory.life + 1, int(self._clock.now() * 1000))
        self.nodes = max(self._least, self._memory.nodes)
        self._other = self._connect(life)
        self._memory = Memory(life, self.nodes, self._memory.clean, self._memory.funds)
        self._open_periods()
        self._memory = Memory(life, self.nodes, False, self._memory.funds)
        self._write(self._memory)
        self._fall_back(missing=True)
        return True

    # -- budgets come and go with their periods

    def _open_periods(self, old: dict[str, FundRow] | None = None) -> None:
        wall, now = self._clock.now(), self._clock.monotonic()
        for id, there in list(self.rows.items()):
            if isinstance(there, FundRow) and wall >= there.until:
                del self.rows[id]
        for fund in self._funds.values():
            for at in (wall, wall + OPEN_AHEAD):
                span = fund.calendar.at(at)
                fresh = FundRow.name(fund, span)
                row: Row | None = self.rows.get(fresh) or (old or {}).get(fresh)
                if not isinstance(row, FundRow) or row.lease.total != row.total_of(fund):
                    known = self._memory.funds.get(fresh)
                    row = FundRow(self._arena, self._parts, fund, span, known, self._memory.clean, now)
                row.future = wall < span.since
                if fund.days > 1 and not row.future:
                    row.turn(span)
                self.rows[fresh] = row
                if fund.days > 1:
                    break

    # -- a round

    async def _round(self, other: Other) -> bool:
        now = self._clock.monotonic()
        rows = self._due(now)
        wants = [row.look(now) for row in rows]
        cycle = -(-len(self.rows) // AT_ONCE) * TICK
        asks = [_ask(row, want, now, cycle) for row, want in zip(rows, wants, strict=True)]
        try:
            if self._rounds % HELLO_EVERY == 0:
                self.nodes = max(self._least, await other.hello())
            answers = await other.lease(asks) if asks else []
        except Unreachable:
            self.failures += 1
            self._failed += 1
            return False
        self._rounds += 1
        self._failed = 0
        self._heard = now = self._clock.monotonic()
        if self._closing:
            return False
        moves = [
            (row, self._judge_answer(row, want, ask, answer), ask, answer)
            for row, want, ask, answer in zip(rows, wants, asks, answers, strict=True)
        ]
        if any(row.lease.hard and row.lease.held > ask.held for row, _, ask, _ in moves):
            await self._remember(at_once=True)  # before it is used: it counts, whatever happens next
        if not self._closing:
            for row, part, ask, answer in moves:
                _move(row, part, ask, answer, now)
        return True

    def _due(self, now: float) -> list[Row]:
        """All of them, or where there are many those in use and some of the others in turn."""
        rows = list(self.rows.values())
        if len(rows) <= AT_ONCE:
            return rows
        hot = list(islice((row for row in rows if row.hot_until > now), AT_ONCE))
        some = [rows[(self._next + step) % len(rows)] for step in range(AT_ONCE)]
        self._next = (self._next + AT_ONCE) % len(rows)
        return list({row.id: row for row in (*hot, *some)}.values())

    def _judge_answer(self, row: Row, want: Want, ask: Ask, answer: Answer | None) -> int:
        """The part that the node is to work by; what it has where the answer is of no use."""
        if answer is not None and row.lease.is_sound(answer, ask.held):
            return row.lease.take(answer, want.used)
        self.failures += 1
        if not self._doubted:
            self._doubted = True
            self._say(
                "Redis gave an answer about shared limits that cannot be true, which is not used: is there another "
                "node of this name (shared.node)?"
            )
        return row.lease.kept

    async def _give_back(self, other: Other) -> None:
        now = self._clock.monotonic()
        asks = []
        for row in self.rows.values():
            used = row.look(now).used
            if isinstance(row, FundRow) and not row.future:
                row.lease.keep(row.apply(used, now, 0, 0), now)
            if row.lease.hard:
                asks.append(_ask(row, Want(used, used), now, 0, LEAVES))
        try:
            await other.lease(asks)
        except Unreachable:
            self.failures += 1  # it is remembered here, and the others have to do without it until this node is back

    # -- while nobody answers

    def _silent(self) -> bool:
        return self._other is not None and self._clock.monotonic() - self._heard >= SILENCE

    def _judge(self) -> None:
        now = self._clock.monotonic()
        silent = self._silent()
        self._parts.degraded.set(1 if silent else 0)
        self._tell(self.problems()[0] if silent else "")
        alone = now - self._heard >= LAPSE
        if alone and not self._alone:
            self._fall_back(missing=False)
        self._alone = alone

    def _fall_back(self, *, missing: bool) -> None:
        """The fair part of what every node has one of; with `missing` only where this node has none."""
        now = self._clock.monotonic()
        for row in self.rows.values():
            if not row.lease.hard and not (missing and row.lease.kept):
                row.lease.keep(row.fall_back(self.nodes, now), now)

    def _tell(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            self._say(problem or "Redis answers again: limits are shared")

    # -- memory

    async def _remember(self, *, clean: bool = False, at_once: bool = False) -> None:
        now = self._clock.monotonic()
        if now - self._remembered < REMEMBER_EVERY and not at_once:
            return
        self._remembered = now
        funds = {row.id: row.held for row in self.rows.values() if isinstance(row, FundRow)}
        memory = Memory(self._memory.life, self.nodes, clean, funds)
        if memory != self._memory:
            self._memory = memory
            await asyncio.to_thread(self._write, memory)

    def _write(self, memory: Memory) -> None:
        try:
            write_memory(self._folder, memory)
        except OSError as error:
            self._say(f"what this node holds of shared budgets is not remembered: {error}")


def _move(row: Row, part: int, ask: Ask, answer: Answer | None, now: float) -> None:
    """Has workers use a part, and know of the others."""
    lease = row.lease
    if part != lease.kept and answer is not None:
        lease.keep(row.apply(part, now, max(0, answer.held - ask.held), answer.debt), now)
    if isinstance(row, FundRow):
        row.tell_others()


def _ask(row: Row, want: Want, now: float, cycle: float, known: int | None = None) -> Ask:
    lease = row.lease
    lapse = row.keep_for if lease.hard else round((LAPSE + 3 * cycle) * 1000)
    held = lease.declare(now, want.used)
    return Ask(
        row.id, lease.total, held, max(want.wanted, want.used), min(want.used, held), want.debt, lease.hard,
        lease.remembered, lease.nodes if known is None else known, lapse, row.keep_for,
    )  # fmt: skip
