"""Keepers of several nodes in virtual time: the parts add up, whoever dies, is cut off or forgets."""

import asyncio
import copy
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastpath.limits.admission import Rejection, Ticket
from fastpath.limits.parts import WHOLE
from fastpath.shares.keeper import TICK
from fastpath.shares.rows import FundRow
from tests.shares.conftest import Node, World, new_arena

UNIT = 1_000_000_000
BUDGET = "keys: [{name: k, hash: HASH, budgets: [{amount: 10}]}]"
ROLLING = "keys: [{name: k, hash: HASH, budgets: [{amount: 10, period: rolling, days: 3}]}]"


def rate(most: int, per: str, burst: int | None = None) -> str:
    limit = f"{{count: requests, most: {most}, per: {per}{f', burst: {burst}' if burst else ''}}}"
    return f"keys: [{{name: k, hash: HASH, limits: [{limit}]}}]"


def kept(node: Node) -> int:
    """What the node works by of its only limit, in the period that is now."""
    return next(row.lease.kept for row in node.keeper.rows.values() if not getattr(row, "future", False))


async def load(world: World, rates: list[float], seconds: float, warm: float, seed: int = 0) -> int:
    """Requests at random (Poisson) on each node; how many of those after `warm` seconds were admitted."""
    chance = random.Random(seed)
    events = [(TICK * step, -1) for step in range(1, round(seconds / TICK) + 1)]
    for number, per_second in enumerate(rates):
        at = 0.0
        while (at := at + chance.expovariate(per_second)) < seconds:
            events.append((at, number))
    admitted, before = 0, 0.0
    for at, number in sorted(events):
        world.advance(at - before)
        before = at
        if number < 0:
            await world.round()
        else:
            admitted += world.nodes[number].admits() and at >= warm
    return admitted


# -- rates


@pytest.mark.parametrize(
    ("limit", "shares"),
    [
        ((500, "second", None), [1.0, 1.0]),
        ((500, "second", None), [0.4, 2.0]),
        ((500, "second", None), [0.0001, 3.0, 0.3, 0.3]),
        ((500, "second", None), [0.2, 0.2, 0.2, 0.2, 0.9]),
        ((6000, "minute", 400), [0.1, 0.7, 1.5]),
    ],
)
async def test_all_nodes_together_admit_what_one_limit_would(
    world: World, limit: tuple[int, str, int | None], shares: list[float]
) -> None:
    """Within 2 % in the steady state, however demand lies among the nodes."""
    most, per, burst = limit
    for _ in shares:
        world.add(rate(most, per, burst))
    per_second = most / {"second": 1, "minute": 60}[per]
    admitted = await load(world, [share * per_second for share in shares], 45.0, 15.0)
    assert admitted == pytest.approx(30 * per_second, rel=0.02)


async def test_a_limit_that_nobody_reaches_refuses_nothing(world: World) -> None:
    for _ in range(3):
        world.add(rate(500, "second"))
    await load(world, [250.0, 100.0, 50.0], 20.0, 0.0)
    refused = sum(node.keeper.rows[next(iter(node.keeper.rows))]._counted[1] for node in world.nodes)  # type: ignore[attr-defined]
    assert refused <= 20.0 * 400 * 0.01


async def test_a_part_that_moves_takes_its_debt_along(world: World) -> None:
    """One node uses a whole minute's burst; when demand moves to another, there is no second burst for it there."""
    one, other = world.add(rate(600, "minute")), world.add(rate(600, "minute"))
    await world.settle(2)
    first = second = 0
    for step in range(240):
        first += sum(one.admits() for _ in range(20)) if step < 80 else 0
        second += sum(other.admits() for _ in range(20)) if step >= 80 else 0
        await world.settle(TICK)
    assert kept(other) > 0.9 * WHOLE
    assert first + second <= 600 + 60 * 10 + 20  # a burst and what came back in a minute, as of one node alone
    assert first >= 600


async def test_a_request_larger_than_a_part_passes_and_is_paid_off(world: World) -> None:
    text = "keys: [{name: k, hash: HASH, limits: [{count: output_tokens, most: 1000, per: minute}]}]"
    nodes = [world.add(text) for _ in range(4)]
    await world.settle(2)
    assert nodes[0].admits(output=900)
    refused = nodes[0].ask(output=10)
    assert isinstance(refused, Rejection)
    assert refused.retry_after > 0
    assert isinstance(nodes[1].ask(output=1001), Rejection)


@pytest.mark.parametrize("most", [1, 2, 3, 7])
async def test_a_limit_too_small_to_cut_is_neither_lost_nor_multiplied(world: World, most: int) -> None:
    nodes = [world.add(rate(most, "second")) for _ in range(3)]
    await world.settle(2)
    admitted = 0
    for step in range(60 * 20):
        for node in nodes:
            admitted += sum(node.admits() for _ in range(most))
        world.advance(0.05)
        if step % 5 == 4:
            await world.round()
    assert 0.9 * 60 * most <= admitted <= 61 * most + 3


# -- places


async def test_places_follow_those_who_want_them(world: World) -> None:
    text = "keys: [{name: k, hash: HASH, limits: [{count: concurrency, most: 10}]}]"
    one, other = world.add(text), world.add(text)
    await world.settle(2)
    assert (kept(one), kept(other)) == (5, 5)
    assert sum(one.admits() for _ in range(20)) == 5
    for _ in range(8):
        await world.settle(TICK)
        one.admits()
    await world.settle(2)
    taken = 5 + sum(one.admits() for _ in range(20)) + 8
    assert len(one.held) == 10
    assert taken >= 10
    assert sum(other.admits() for _ in range(20)) == 0
    one.settle()
    for _ in range(16):
        await world.settle(TICK)
        other.admits()
    assert len(other.held) + len(one.held) <= 10
    assert len(other.held) >= 9


# -- faults


async def test_f20_without_redis_a_node_goes_on_with_its_part_and_says_so(world: World) -> None:
    nodes = [world.add(rate(100, "second")) for _ in range(2)]
    admitted = await load(world, [300.0, 10.0], 5.0, 4.0)
    before = kept(nodes[0])
    assert before > 0.8 * WHOLE
    world.twin.down = True
    admitted = await load(world, [300.0, 10.0], 2.0, 0.0, 1)
    assert admitted <= 2 * 2 * 100
    assert kept(nodes[0]) == before
    assert nodes[0].plan.parts is not None
    assert nodes[0].plan.parts.degraded
    assert nodes[0].keeper.problems()
    admitted = await load(world, [300.0, 300.0], 10.0, 5.0, 2)
    assert [kept(node) for node in nodes] == [WHOLE // 2] * 2
    assert admitted <= 100 * 5 * 1.02 + 100  # from then on the limit and its burst
    world.twin.down = False
    await world.settle(2)
    await load(world, [10.0, 300.0], 6.0, 0.0, 3)
    assert kept(nodes[1]) > 0.8 * WHOLE
    assert not nodes[0].keeper.problems()
    assert [line for line in nodes[0].said if "Redis" in line] == [
        "Redis does not answer: this node goes on with its part of the limits that it shares",
        "Redis answers again: limits are shared",
    ]


async def test_what_a_small_part_owes_is_not_multiplied_when_it_grows(world: World) -> None:
    nodes = [world.add(rate(20, "second")) for _ in range(2)]
    await load(world, [60.0, 0.001], 10.0, 0.0)
    while not nodes[1].admits():  # from a thousandth of the limit: then it owes for most of a minute
        world.advance(0.05)
    world.twin.down = True
    await world.settle(5)
    await load(world, [0.001, 60.0], 2.0, 0.0, 2)
    assert len(nodes[1].held) > 10


async def test_f22_an_emptied_redis_multiplies_no_limit(world: World) -> None:
    for _ in range(3):
        world.add(rate(500, "second"))
    await load(world, [900.0, 900.0, 10.0], 10.0, 0.0)
    world.twin.flush()
    admitted = await load(world, [900.0, 900.0, 10.0], 10.0, 0.0, 1)
    assert admitted <= 500 * 11


async def test_f23_each_side_of_a_partition_has_its_part(world: World) -> None:
    nodes = [world.add(rate(500, "second")) for _ in range(4)]
    await load(world, [500.0] * 4, 5.0, 0.0)
    for node in nodes[:2]:
        node.exchange.cut = True
    admitted = await load(world, [900.0] * 4, 20.0, 10.0, 1)
    assert 500 * 10 * 0.98 <= admitted <= 2 * 500 * 10
    for node in nodes:
        node.exchange.cut = False
    admitted = await load(world, [900.0] * 4, 20.0, 10.0, 2)
    assert admitted == pytest.approx(500 * 10, rel=0.02)


async def test_a_lie_is_not_used(world: World) -> None:
    node = world.add(rate(500, "second"))
    await world.settle(2)
    there = world.twin.lease

    def lie(*asked: Any) -> Any:
        answer = there(*asked)
        return answer and type(answer)(5 * WHOLE, 5 * WHOLE, 5 * WHOLE, 0, 0, 1, True)

    world.twin.lease = lie  # type: ignore[method-assign]
    await world.settle(2)
    assert kept(node) <= WHOLE
    assert node.keeper.failures
    assert [line for line in node.said if "cannot be true" in line]


async def test_a_bug_ends_no_node(world: World) -> None:
    node = world.add(rate(500, "second"))
    again = asyncio.Event()

    async def fail() -> int:
        if not node.said:
            raise ZeroDivisionError
        again.set()
        return 1

    node.exchange.hello = fail  # type: ignore[method-assign]
    running = asyncio.create_task(node.keeper.run())
    await asyncio.wait_for(again.wait(), 20)
    running.cancel()
    assert [line for line in node.said if "a bug in sharing limits" in line]


# -- budgets at the ends of periods and processes


async def test_the_next_period_has_its_part_before_it_begins(world: World) -> None:
    text = "keys: [{name: k, hash: HASH, budgets: [{amount: 10, period: day}]}]"
    nodes = [world.add(text) for _ in range(2)]
    await world.settle(2)
    assert [sum(node.admits(UNIT) for _ in range(9)) for node in nodes] == [5, 5]
    midnight = 86_400 - world.clock.now() % 86_400
    world.advance(midnight - 10)
    await world.settle(9)
    assert not nodes[0].admits(UNIT)
    world.advance(1.5)
    assert [sum(node.admits(UNIT) for _ in range(9)) for node in nodes] == [5, 5]
    await world.settle(2)
    assert not any(node.admits(UNIT) for node in nodes)


async def test_a_node_that_starts_without_redis_spends_only_what_it_was_given(world: World) -> None:
    node = world.add(BUDGET, "a")
    world.add(BUDGET, "b")
    await world.settle(2)
    assert [node.admits(UNIT) for _ in range(3)] == [True] * 3
    world.twin.down = True
    world.nodes.remove(node)
    node.keeper._turn.give()  # as when its process is gone

    again = world.add(BUDGET, "a", arena=node.arena)  # the machine stayed up: the arena knows what was spent
    assert [again.admits(UNIT) for _ in range(3)] == [True, True, False]
    world.nodes.remove(again)
    again.keeper._turn.give()
    rebooted = world.add(BUDGET, "a")  # it did not: whatever was given counts as spent
    assert not rebooted.admits(UNIT)
    stranger = world.add(BUDGET, "c")
    assert not stranger.admits(UNIT)
    world.twin.down = False
    await world.settle(5)
    total = 0
    for _ in range(12):
        total += sum(one.admits(UNIT) for one in (rebooted, stranger, world.nodes[0]))
        await world.settle(1)
    assert total == 5


async def test_an_orderly_end_gives_back_and_is_remembered_exactly(world: World) -> None:
    one, other = world.add(BUDGET, "a"), world.add(BUDGET, "b")
    await world.settle(2)
    assert one.admits(UNIT)
    one.settle(UNIT)
    world.nodes.remove(one)
    await one.keeper.close(hand_over=False)
    await world.settle(3)
    assert sum(other.admits(UNIT) for _ in range(12)) == 9
    rebooted = world.add(BUDGET, "a")
    await world.settle(3)
    assert not rebooted.admits(UNIT)


async def test_what_is_left_elsewhere_is_worth_another_try(world: World) -> None:
    one, other = world.add(BUDGET), world.add(BUDGET)
    await world.settle(2)
    assert sum(one.admits(UNIT) for _ in range(9)) == 5
    refused = one.ask(UNIT)
    assert isinstance(refused, Rejection)
    assert refused.elsewhere
    await world.settle(2)
    assert sum(one.admits(UNIT) for _ in range(9)) >= 2
    for _ in range(12):
        other.admits(UNIT)
        await world.settle(1)
        one.admits(UNIT)
    assert len(one.held) + len(other.held) == 10
    one.settle(UNIT)
    other.settle(UNIT)
    await world.settle(2)
    spent = one.ask(UNIT)
    assert isinstance(spent, Rejection)
    assert not spent.elsewhere
    assert {crossing.percent for crossing in one.told + other.told} == {50, 80, 100}


async def test_what_is_spent_while_an_answer_is_on_its_way_is_not_given_back(world: World) -> None:
    """One node is told to hold less just when it spends all that it holds."""
    one, other = world.add(BUDGET), world.add(BUDGET)
    await world.settle(2)
    for _ in range(9):
        other.admits(UNIT)
    one.exchange.meanwhile = lambda: [one.admits(UNIT) for _ in range(9)]
    for _ in range(10):
        await world.settle(0.5)
        other.admits(UNIT)
    assert len(one.held) + len(other.held) == 10


# -- budgets, whatever happens


class Budgets(RuleBasedStateMachine):
    """Three nodes on a budget for ten units; more than that is never admitted, and no more given out."""

    TEXT = BUDGET

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.lost = 0
        self.before: dict[str, Any] = {}
        self.calm = 100

    @initialize()
    def start(self) -> None:
        for _ in range(3):
            self.world.add(self.TEXT)
        self.rounds(3)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    @rule(count=st.integers(1, 12))
    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.world.advance(TICK)
            self.before = copy.deepcopy(self.world.twin.limits)
            self.loop.run_until_complete(self.world.round())
            self.calm += 1

    @rule(number=st.integers(0, 2))
    def one_round(self, number: int) -> None:
        self.world.advance(TICK / 3)
        self.loop.run_until_complete(self.world.nodes[number].keeper.tick())

    @rule(number=st.integers(0, 2), count=st.integers(1, 6), money=st.integers(1, 4 * UNIT))
    def ask(self, number: int, count: int, money: int) -> None:
        for _ in range(count):
            self.world.nodes[number].admits(money)

    @rule(number=st.integers(0, 2), part=st.integers(0, 100))
    def settle(self, number: int, part: int) -> None:
        node = self.world.nodes[number]
        for ticket, money in zip(node.held, node.reserved, strict=True):
            ticket.settle(self.world.clock.monotonic(), 0, 0, part * money // 100)
        node.held.clear()
        node.reserved.clear()

    @rule(number=st.integers(0, 2), deaf=st.booleans())
    def cut(self, number: int, deaf: bool) -> None:
        exchange = self.world.nodes[number].exchange
        exchange.cut, exchange.deaf = not deaf, deaf
        self.calm = 0

    @rule(number=st.integers(0, 2), count=st.integers(0, 3), money=st.integers(1, UNIT))
    def ask_while_answers_are_on_their_way(self, number: int, count: int, money: int) -> None:
        node = self.world.nodes[number]
        node.exchange.meanwhile = lambda: [node.admits(money) for _ in range(count)]

    @rule()
    def heal(self) -> None:
        for node in self.world.nodes:
            node.exchange.cut = node.exchange.deaf = False

    @precondition(lambda self: not any(node.exchange.cut or node.exchange.deaf for node in self.world.nodes))
    @rule()
    def lose_everything(self) -> None:
        self.world.twin.flush()
        self.rounds(2)

    @precondition(lambda self: not any(node.exchange.cut or node.exchange.deaf for node in self.world.nodes))
    @rule()
    def lose_the_last_writes(self) -> None:
        self.world.twin.limits = copy.deepcopy(self.before)
        self.rounds(2)

    @rule(number=st.integers(0, 2), memory=st.booleans())
    def restart(self, number: int, memory: bool) -> None:
        """Killed, and started again on the same machine, with or without its memory."""
        node = self.world.nodes[number]
        node.keeper._turn.give()
        if not memory:
            (node.folder / "shares.json").unlink(missing_ok=True)
        self.replace(number, node, node.arena)

    @precondition(lambda self: not any(node.exchange.cut or node.exchange.deaf for node in self.world.nodes))
    @rule(number=st.integers(0, 2))
    def reboot(self, number: int) -> None:
        """Its machine is gone, and with it the arena: what ran there goes on being charged to no arena."""
        node = self.world.nodes[number]
        node.keeper._turn.give()
        self.lost += self.spent(node)
        for ticket in node.held:
            ticket.mark(0, 0)
        node.held.clear()
        node.reserved.clear()
        self.replace(number, node, new_arena())

    def replace(self, number: int, node: Node, arena: Any) -> None:
        again = Node(node.name, self.TEXT, self.world.twin, node.folder, self.world.clock, arena)
        again.held, again.reserved = node.held, node.reserved
        again.exchange.cut, again.exchange.deaf = node.exchange.cut, node.exchange.deaf
        again.seeded = again_committed(again) if arena is not node.arena else getattr(node, "seeded", 0)  # type: ignore[attr-defined]
        self.world.nodes[number] = again

    def spent(self, node: Node) -> int:
        return again_committed(node) - getattr(node, "seeded", 0)

    @invariant()
    def no_more_than_the_budget_is_committed(self) -> None:
        assert self.lost + sum(self.spent(node) for node in self.world.nodes) <= 10 * UNIT

    @invariant()
    def nobody_commits_beyond_its_part(self) -> None:
        for node in self.world.nodes:
            for row in node.keeper.rows.values():
                assert isinstance(row, FundRow)
                assert row.used <= row.lease.kept <= row.lease.held


def again_committed(node: Node) -> int:
    """What the node's arena counts as committed now."""
    if not isinstance(found := node.ask(0), Ticket):
        return int(node.plan.limiter.committed(0)[0])
    found.void(node.clock.monotonic())
    return int(node.plan.limiter.committed(0)[0])


class RollingBudgets(Budgets):
    """The same over the last three days, which pass."""

    TEXT = ROLLING


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=20, stateful_step_count=25, suppress_health_check=list(HealthCheck))
TestRollingBudgets = RollingBudgets.TestCase
TestRollingBudgets.settings = settings(max_examples=8, stateful_step_count=25, suppress_health_check=list(HealthCheck))
