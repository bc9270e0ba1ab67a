"""The limiter kernel against its twin, its bounds, and what a newer map takes over."""

import importlib.machinery
import mmap
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from _native import limiter as native
from _native.arena import Arena, Refusal, Sizes, digest, layout_size
from _native.limiter import NO_BOUND, Allowance, Budget, Limiter, Rate, Ticket
from _native.reference import arena as twin_arena
from _native.reference import limiter as twin

SECRET = bytes(range(16))
BOOT = b"this very boot.."
SMALL = Sizes(
    workers=4, families=8, series=16, lanes=16, histograms=1, buckets=64, limits=16, leases=8, cells=16, samples=16,
    budgets=32,
)  # fmt: skip
SECOND = 1_000_000_000
FAR = 1 << 60
DAY = 20_000


@pytest.fixture
def arena() -> Arena:
    made = Arena.anonymous(SECRET, SMALL)
    made.join(pid=1, start=1)
    return made


def purse(arena: Arena, whole: int, *, name: str = "b", days: int = 1, **other: Any) -> Allowance:
    bounds = {"limit": whole, "stop": whole, "kind": "money", **other}
    return Allowance(Budget(arena, digest(name), days), whole=whole, **bounds)


def spender(arena: Arena, *allowances: Allowance, period: int = DAY) -> Limiter:
    limiter = Limiter(arena, budgets=allowances)
    for place in range(len(allowances)):
        limiter.turn(place, period, period - 1)
    return limiter


def take(limiter: Limiter, money: int, *, tokens: int = 0) -> Ticket:
    ticket = limiter.admit(SECOND, FAR, tokens, 0, money)
    assert isinstance(ticket, Ticket), ticket
    return ticket


def test_the_kernel_is_compiled() -> None:
    assert native.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    with pytest.raises(TypeError):
        Ticket()


# -- rates


@given(
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 12), st.integers(0, 9)), max_size=30),
    st.integers(1, SECOND), st.integers(1, 50), st.integers(1, 10),
)  # fmt: skip
def test_rates_in_fractions_of_a_nanosecond_agree_with_the_twin(
    steps: list[tuple[int, int, int]], period: int, burst: int, per: int
) -> None:
    arena, model = Arena.anonymous(SECRET, SMALL), twin_arena.Arena(SMALL)
    arena.join(pid=1, start=1)
    shape: dict[str, Any] = {"period": period, "burst": burst, "per": per, "input": 1, "request": 0}
    limiter = Limiter(arena, [Rate(arena.bucket(bytes(16)), **shape)])
    other = twin.Limiter(model, [twin.Rate(model.bucket(bytes(16)), **shape)])
    now = 0
    for wait, estimate, truth in steps:
        now += wait
        got, expected = limiter.admit(now, FAR, estimate, 0, 0), other.admit(now, FAR, estimate, 0, 0)
        if isinstance(got, Ticket):
            assert isinstance(expected, twin.Ticket)
            got.settle(now, truth, 0, 0)
            expected.settle(now, truth, 0, 0)
        else:
            assert got == expected
        assert limiter.tightest(now, 0) == other.tightest(now, 0)


def test_a_limit_by_the_billion_is_met_to_a_thousandth(arena: Arena) -> None:
    """7e9 tokens a minute are 8.57 ns each: whole nanoseconds would be 5 % off."""
    rate = Rate(arena.bucket(digest("t")), 60 * SECOND, 7_000_000_000, per=7_000_000_000, request=0, input=1)
    limiter = Limiter(arena, [rate])
    assert isinstance(limiter.admit(SECOND, FAR, 7_000_000_000, 0, 0), Ticket)  # the burst
    passed = 0
    for step in range(1, 601):  # a minute, every 100 ms
        while isinstance(limiter.admit(SECOND + step * SECOND // 10, FAR, 1_000_000, 0, 0), Ticket):
            passed += 1_000_000
    assert 7_000_000_000 * 0.999 <= passed <= 7_000_000_000


def test_more_than_eight_rates_hold_at_once(arena: Arena) -> None:
    rates = [Rate(arena.bucket(digest(str(i))), SECOND, i + 1) for i in range(32)]
    limiter = Limiter(arena, rates)
    assert isinstance(limiter.admit(SECOND, FAR, 0, 0, 0), Ticket)
    assert limiter.admit(SECOND, FAR, 0, 0, 0) == Refusal("rate", 0, SECOND)
    with pytest.raises(ValueError, match="at most 32"):
        Limiter(arena, [*rates, Rate(arena.bucket(digest("33")), SECOND, 1)])


def test_a_new_pace_keeps_the_debt(arena: Arena) -> None:
    limiter = Limiter(arena, [Rate(arena.bucket(digest("r")), SECOND, 2)])
    assert [isinstance(limiter.admit(SECOND, FAR, 0, 0, 0), Ticket) for _ in range(3)] == [True, True, False]
    limiter.pace(0, 2 * SECOND, 2, 1)  # half as fast
    assert limiter.admit(3 * SECOND, FAR, 0, 0, 0).__class__ is Ticket
    assert limiter.admit(3 * SECOND, FAR, 0, 0, 0).__class__ is Ticket
    assert limiter.admit(4 * SECOND, FAR, 0, 0, 0) == Refusal("rate", 0, SECOND)


@pytest.mark.parametrize(
    "shape", [{"period": 0}, {"burst": 0}, {"per": 0}, {"input": -1}, {"scale": 0}, {"period": -5}]
)
def test_rates_that_cannot_be_are_refused(arena: Arena, shape: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Limiter(arena, [Rate(**{"bucket": arena.bucket(digest("r")), "period": 1, "burst": 1, **shape})])


def test_what_cannot_be_is_refused(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 10))
    ticket = take(limiter, 1)
    for amounts in ((-1, 0, 0), (0, -1, 0), (0, 0, -1)):
        with pytest.raises(ValueError):
            limiter.admit(SECOND, FAR, *amounts)
        with pytest.raises(ValueError):
            ticket.settle(SECOND, *amounts)
    assert ticket.held
    for place, period, previous in ((1, DAY, 1), (0, 0, 0), (0, DAY, DAY), (0, 1 << 18, 1), (-1, DAY, 1)):
        with pytest.raises(ValueError):
            limiter.turn(place, period, previous)
    for days in (0, 32, -1):
        with pytest.raises(ValueError):
            Budget(arena, digest("x"), days)
    with pytest.raises(ValueError):
        Budget(arena, digest("x")).seed(DAY, -1)
    with pytest.raises(ValueError):
        spender(arena, purse(arena, 1), purse(arena, 2))  # the same row twice
    with pytest.raises(RuntimeError, match="made once"):
        Limiter.__init__(limiter, arena)
    stranger = Arena.anonymous(SECRET, SMALL)
    with pytest.raises(RuntimeError):
        spender(stranger, purse(stranger, 1)).admit(SECOND, FAR, 0, 0, 0)


# -- budgets


def test_a_budget_is_reserved_settled_and_given_back(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100))
    tickets = [take(limiter, 40), take(limiter, 40)]
    assert limiter.admit(SECOND, FAR, 0, 0, 40) == Refusal("budget", 0, 0)
    assert limiter.committed(0) == (80, 80, DAY)
    assert tickets[0].settle(SECOND, 0, 0, 5) == 0
    assert limiter.committed(0) == (45, 40, DAY)
    assert tickets[0].settle(SECOND, 0, 0, 5) == -1
    assert not tickets[0].void(SECOND)
    assert tickets[1].void(SECOND)
    assert limiter.committed(0) == (5, 0, DAY)
    dropped = take(limiter, 90)
    assert limiter.committed(0)[0] == 95
    del dropped
    assert limiter.committed(0) == (5, 0, DAY)


def test_a_request_may_cost_more_than_it_reserved_and_blocks_the_next(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100))
    take(limiter, 10).settle(SECOND, 0, 0, 250)
    assert limiter.committed(0)[0] == 250
    assert limiter.admit(SECOND, FAR, 0, 0, 0) == Refusal("budget", 0, 0)


def test_a_spent_budget_refuses_even_what_costs_nothing(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100))
    take(limiter, 100).settle(SECOND, 0, 0, 100)
    assert limiter.admit(SECOND, FAR, 0, 0, 0) == Refusal("budget", 0, 0)


def test_a_soft_budget_only_counts(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100, limit=NO_BOUND, stop=NO_BOUND))
    take(limiter, 1 << 60).settle(SECOND, 0, 0, 1 << 61)
    take(limiter, 1 << 60).settle(SECOND, 0, 0, 1 << 61)
    assert limiter.committed(0)[0] == 1 << 62


def test_tokens_and_money_are_counted_apart(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100), purse(arena, 1_000, name="t", kind="tokens"))
    take(limiter, 7, tokens=900).settle(SECOND, 20, 30, 3)
    assert [limiter.committed(place)[0] for place in (0, 1)] == [3, 50]
    assert limiter.admit(SECOND, FAR, 951, 0, 1) == Refusal("budget", 1, 0)


def test_a_new_period_begins_at_nothing_and_an_old_one_settles_into_nothing(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100))
    late = take(limiter, 60)
    limiter.turn(0, DAY + 1, DAY)
    assert limiter.committed(0)[0] == 0
    take(limiter, 90).settle(SECOND, 0, 0, 90)
    assert late.settle(SECOND, 0, 0, 60) == 0
    assert limiter.committed(0) == (90, 0, DAY + 1)


def test_F39_a_clock_that_goes_back_and_forth_starts_no_period_twice(arena: Arena) -> None:
    """F39: by an hour around midnight, and by a day."""
    limiter = spender(arena, purse(arena, 100))
    take(limiter, 50).settle(SECOND, 0, 0, 50)
    for period in (DAY + 1, DAY, DAY + 1, DAY, DAY - 1, DAY + 1):
        limiter.turn(0, period, period - 1)
        take(limiter, 10).settle(SECOND, 0, 0, 10)
    assert limiter.committed(0) == (60, 0, DAY + 1)
    limiter.turn(0, DAY + 2, DAY + 1)
    assert limiter.committed(0)[0] == 0


def test_F39_a_clock_that_was_years_ahead_freezes_no_budget(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100), period=DAY + 4_000)
    take(limiter, 70).settle(SECOND, 0, 0, 70)
    limiter.turn(0, DAY, DAY - 1)
    take(limiter, 20).settle(SECOND, 0, 0, 20)
    assert limiter.committed(0) == (90, 0, DAY)  # what was spent stays spent
    limiter.turn(0, DAY + 1, DAY)
    take(limiter, 100)


@pytest.mark.parametrize(("spent", "carried"), [(0, 50), (60, 40), (100, 0), (130, 0)])
def test_what_is_left_carries_over_once(arena: Arena, spent: int, carried: int) -> None:
    limiter = spender(arena, purse(arena, 100, carry=50))
    take(limiter, 1).settle(SECOND, 0, 0, spent)
    limiter.turn(0, DAY + 1, DAY)
    assert limiter.committed(0)[0] == -carried
    assert limiter.admit(SECOND, FAR, 0, 0, 101 + carried) == Refusal("budget", 0, 0)
    take(limiter, 100 + carried).settle(SECOND, 0, 0, 100 + carried)
    limiter.turn(0, DAY + 2, DAY + 1)
    assert limiter.committed(0)[0] == 0
    limiter.turn(0, DAY + 9, DAY + 8)  # a week without a request
    assert limiter.committed(0)[0] == -50


@pytest.mark.parametrize("days", [2, 7, 30, 31])
def test_a_rolling_budget_forgets_day_by_day(arena: Arena, days: int) -> None:
    limiter = spender(arena, purse(arena, 10 * days, days=days))
    for day in range(days):
        limiter.turn(0, DAY + day, DAY + day - 1)
        take(limiter, 10).settle(SECOND, 0, 0, 10)
        assert limiter.committed(0)[0] == 10 * (day + 1)
    assert limiter.admit(SECOND, FAR, 0, 0, 1) == Refusal("budget", 0, 0)
    for day in range(days, 3 * days):
        limiter.turn(0, DAY + day, DAY + day - 1)
        assert limiter.committed(0)[0] == 10 * (days - 1)
        take(limiter, 10).settle(SECOND, 0, 0, 10)
    limiter.turn(0, DAY + 5 * days, DAY + 5 * days - 1)
    assert limiter.committed(0)[0] == 0


def test_a_seed_only_raises(arena: Arena) -> None:
    allowance = purse(arena, 100)
    limiter = spender(arena, allowance)
    running = take(limiter, 30)
    allowance.budget.seed(DAY, 60)
    assert limiter.committed(0) == (90, 30, DAY)
    allowance.budget.seed(DAY, 10)
    allowance.budget.seed(DAY - 1, 1_000)
    assert limiter.committed(0)[0] == 90
    running.settle(SECOND, 0, 0, 5)
    assert limiter.committed(0) == (65, 0, DAY)
    allowance.budget.seed(DAY + 1, 99)
    limiter.turn(0, DAY + 1, DAY)
    assert limiter.committed(0)[0] == 99


def test_a_threshold_is_noted_once_in_a_period(arena: Arena) -> None:
    limiters = [spender(arena, purse(arena, 100)) for _ in range(2)]
    limiters[0].notice(0, 50)
    assert take(limiters[0], 40).settle(SECOND, 0, 0, 49) == 0
    running = take(limiters[0], 30)
    assert take(limiters[0], 1).settle(SECOND, 0, 0, 1) == 1
    assert running.settle(SECOND, 0, 0, 0) == 1
    assert [limiter.cross(0, DAY, 0b01) for limiter in limiters] == [1, 0]
    assert [limiter.cross(0, DAY, 0b11) for limiter in limiters] == [2, 0]
    assert limiters[1].cross(0, DAY - 1, 0b11) == 0
    assert [limiter.cross(0, DAY + 1, 0b11) for limiter in limiters] == [3, 0]


def test_what_only_runs_reaches_no_notice(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100))
    limiter.notice(0, 50)
    running = [take(limiter, 30) for _ in range(3)]
    assert running.pop().settle(SECOND, 0, 0, 1) == 0


def test_full_tables_fail_closed() -> None:
    arena = Arena.anonymous(SECRET, SMALL._replace(budgets=1))
    arena.join(pid=1, start=1)
    first, second = purse(arena, 100), purse(arena, 100, name="other")
    assert (first.budget.full, second.budget.full) == (False, True)
    assert spender(arena, second).admit(SECOND, FAR, 0, 0, 1) == Refusal("full", -1, 0)
    assert spender(arena, second).committed(0) == (0, 0, DAY)
    assert arena.refusals["budgets"] >= 1
    limiter = spender(arena, first)
    held = [limiter.admit(SECOND, FAR, 0, 0, 1) for _ in range(9)]
    assert held[8] == Refusal("full", -1, 0)
    assert limiter.committed(0)[0] == 8


# -- death


def test_a_dead_workers_reservations_come_back_less_what_it_marked(arena: Arena) -> None:
    victim = Arena.attach(arena.memory, SECRET, bytes(16))
    victim.join(pid=2, start=1)
    kept = [take(spender(victim, purse(victim, 100)), 20) for _ in range(3)]
    assert kept[0].mark(0, 7)
    assert kept[1].mark(0, 3)
    assert kept[1].mark(0, 9)
    limiter = spender(arena, purse(arena, 100))
    assert limiter.committed(0) == (60, 60, DAY)
    assert arena.reap(SECOND, lambda pid, start: pid != 2) == (1, 3)
    assert limiter.committed(0) == (16, 0, DAY)
    assert arena.reap(SECOND, lambda pid, start: pid != 2) == (0, 0)
    assert not any(ticket.mark(0, 50) or ticket.held for ticket in kept)


def test_a_lease_that_expired_still_pays_its_rest(arena: Arena) -> None:
    limiter = spender(arena, purse(arena, 100))
    ticket = limiter.admit(SECOND, 2 * SECOND, 0, 0, 40)
    assert isinstance(ticket, Ticket)
    assert ticket.mark(0, 10)
    assert arena.reap(3 * SECOND, lambda pid, start: True) == (0, 1)
    assert limiter.committed(0) == (10, 0, DAY)
    assert ticket.settle(4 * SECOND, 0, 0, 33) == 0
    assert limiter.committed(0) == (33, 0, DAY)


# -- a newer map


def test_a_newer_map_takes_budgets_over() -> None:
    memory = mmap.mmap(-1, layout_size(SMALL))
    old = Arena.format(memory, SECRET, SMALL, BOOT)
    old.join(pid=7, start=7)
    calendar, rolling = purse(old, 100), purse(old, 100, name="r", days=9)
    limiter = spender(old, calendar, rolling)
    take(limiter, 30).settle(SECOND, 0, 0, 20)
    assert limiter.cross(0, DAY, 0b1) == 1
    running = take(limiter, 10)
    new = Arena.format(mmap.mmap(-1, layout_size(SMALL)), SECRET, SMALL._replace(budgets=32), BOOT)
    new.adopt_limits(memory, SECRET, BOOT, SECOND, lambda pid, start: True)
    new.join(pid=8, start=8)
    heir = spender(new, purse(new, 100), purse(new, 100, name="r", days=9))
    assert [heir.committed(place) for place in (0, 1)] == [(30, 0, DAY)] * 2  # what runs counts as spent
    assert heir.cross(0, DAY, 0b11) == 2
    assert limiter.admit(SECOND, FAR, 0, 0, 1) == Refusal("superseded", -1, 0)
    running.settle(SECOND, 0, 0, 1)
    take(heir, 70).settle(SECOND, 0, 0, 70)
    assert heir.admit(SECOND, FAR, 0, 0, 1) == Refusal("budget", 0, 0)


def test_damage_anywhere_stops_nothing() -> None:
    """Random bytes in every row while budgets are used: wrong numbers at worst, never a crash or a loop without end."""
    chance = random.Random(5)
    for turn in range(60):
        memory = mmap.mmap(-1, layout_size(SMALL))
        arena = Arena.format(memory, SECRET, SMALL, BOOT)
        arena.join(pid=1, start=1)
        limiter = spender(arena, purse(arena, 1_000), purse(arena, 1_000, name="r", days=1 + turn % 31))
        for _ in range(12):
            used = [at for at in range(4096, len(memory), 8) if memory[at : at + 8] != bytes(8)]
            for _ in range(1 + 40 * (turn % 3)):
                memory[chance.choice(used) + chance.randrange(8)] = chance.randrange(256)
            limiter.turn(1, DAY + chance.randrange(5), DAY - 1)
            ticket = limiter.admit(SECOND, FAR, 1, 2, 3)
            if isinstance(ticket, Ticket):
                ticket.mark(1, 1)
                ticket.settle(SECOND, 1, 1, 1)
            limiter.committed(1)
            limiter.cross(0, DAY, 1)
            limiter.tightest(SECOND, 0)
            arena.reap(SECOND, lambda pid, start: True)
        other = Arena.format(mmap.mmap(-1, layout_size(SMALL)), SECRET, SMALL, BOOT)
        other.adopt_limits(memory, SECRET, BOOT, SECOND, lambda pid, start: True)


# -- everything at once


class Node(RuleBasedStateMachine):
    """Workers that admit, mark, settle, void, drop and die, on clocks that jump, and their twin."""

    RATES = (("a", 1, 0, 0), ("b", 0, 1, 2))
    PURSES = (("c", 1, "money", 60), ("d", 5, "tokens", 80), ("e", 1, "tokens", 70))

    @initialize()
    def begin(self) -> None:
        self.reader = Arena.anonymous(SECRET, SMALL)
        self.model = twin_arena.Arena(SMALL)
        self.budgets = {name: twin.Budget(days) for name, days, _, _ in self.PURSES}
        self.workers: dict[int, Arena] = {}
        self.dead: set[int] = set()
        self.tickets: list[tuple[Ticket, twin.Ticket]] = []
        self.now, self.day, self.pids = SECOND, DAY, 0

    @precondition(lambda self: len(self.model.joined) < SMALL.workers)
    @rule()
    def start(self) -> None:
        self.pids += 1
        arena = Arena.attach(self.reader.memory, SECRET, bytes(16))
        assert arena.join(pid=self.pids, start=9) == self.model.join(self.pids, 9)
        self.workers[arena.slot] = arena

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.workers)))
        self.dead.add(self.model.joined[slot][0])
        del self.workers[slot]

    @rule(wait=st.sampled_from([0, SECOND // 3, 5 * SECOND]))
    def reap(self, wait: int) -> None:
        self.now += wait
        alive = lambda pid, start: start == 9 and pid not in self.dead  # noqa: E731
        assert self.reader.reap(self.now, alive) == self.model.reap(self.now, alive)
        for _, model in self.tickets:
            if not model.lease.held:
                model.give_back()

    @rule(days=st.sampled_from([-1, 1, 1, 1, 6]))
    def pass_midnight(self, days: int) -> None:
        self.day += days

    def both(self, arena: Arena) -> tuple[Limiter, twin.Limiter]:
        shapes: list[dict[str, Any]] = [
            {"period": SECOND, "burst": 9, "request": r, "input": i, "output": o} for _, r, i, o in self.RATES
        ]
        kept: list[dict[str, Any]] = [
            {"kind": kind, "whole": whole, "limit": whole, "stop": whole, "carry": whole // 3 if days == 1 else 0}
            for _, days, kind, whole in self.PURSES
        ]
        names = [digest(name) for name, *_ in self.RATES]
        limiter = Limiter(
            arena,
            [Rate(arena.bucket(name), **shape) for name, shape in zip(names, shapes, strict=True)],
            [(arena.limit(digest("places")), 3)],
            [Allowance(Budget(arena, digest(n), d), **k) for (n, d, *_), k in zip(self.PURSES, kept, strict=True)],
        )
        model = twin.Limiter(
            self.model,
            [twin.Rate(self.model.bucket(name), **shape) for name, shape in zip(names, shapes, strict=True)],
            [(self.model.limit(digest("places")), 3)],
            [twin.Allowance(self.budgets[n], **k) for (n, *_), k in zip(self.PURSES, kept, strict=True)],
        )
        for place in range(len(self.PURSES)):
            limiter.turn(place, self.day, self.day - 1)
        model.turn(self.day, self.day - 1)
        return limiter, model

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), input=st.integers(0, 4), output=st.integers(0, 4), money=st.integers(0, 40))
    def admit(self, data: st.DataObject, input: int, output: int, money: int) -> None:
        self.model.worker = data.draw(st.sampled_from(sorted(self.workers)))
        limiter, model = self.both(self.workers[self.model.worker])
        expires = self.now + data.draw(st.sampled_from([SECOND, 60 * SECOND]))
        before = self.reader.memory[:]
        got, expected = (one.admit(self.now, expires, input, output, money) for one in (limiter, model))
        if isinstance(got, Ticket):
            assert isinstance(expected, twin.Ticket)
            self.tickets.append((got, expected))
        else:
            assert isinstance(expected, Refusal)
            assert (got.cause, got.retry_after) == (expected.cause, expected.retry_after)
            if got.cause != "full":  # which is counted
                assert self.reader.memory[:] == before, "a rejected request changed a counter"

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), tokens=st.tuples(st.integers(0, 6), st.integers(0, 6)), money=st.integers(0, 50))
    def end(self, data: st.DataObject, tokens: tuple[int, int], money: int) -> None:
        got, model = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        how = data.draw(st.sampled_from(["settle", "settle", "void", "drop"]))
        if how == "settle":
            got.settle(self.now, *tokens, money)
            model.settle(self.now, *tokens, money)
        elif how == "void":
            got.void(self.now)
            model.void(self.now)
        else:
            del got
            model.drop()

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), tokens=st.integers(0, 6), money=st.integers(0, 50))
    def mark(self, data: st.DataObject, tokens: int, money: int) -> None:
        got, model = self.tickets[data.draw(st.integers(0, len(self.tickets) - 1))]  # a drawn one would be kept alive
        got.mark(tokens, money)
        model.mark(tokens, money)

    @invariant()
    def sums_agree(self) -> None:
        assert self.reader.limit(digest("places")).in_use == self.model.limit(digest("places")).in_use
        limiter, model = self.both(self.reader)
        for place, one in enumerate(model.budgets):
            committed = one.budget.committed(one, self.day, self.day - 1)
            assert limiter.committed(place)[:2] == (committed, max(0, sum(one.budget.reserved.values()))), place
        for family in (0, 1):
            assert limiter.tightest(self.now, family) == model.tightest(self.now, family)


TestNode = Node.TestCase
TestNode.settings = settings(max_examples=60, stateful_step_count=40)
