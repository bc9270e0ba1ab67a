"""The bugs of other gateways' limiters, each by the number of its lesson. Over processes: test_processes."""

import random

from fastpath.limits.admission import Rejection, Ticket

ALL = """
tenants: [{name: t, limits: [{count: requests, most: 1000}], budgets: [{name: b, amount: 100}]}]
keys:
  - name: k
    hash: HASH
    tenant: t
    limits:
      - {count: concurrency, most: 3}
      - {count: requests, most: 500}
      - {count: tokens, most: 100000}
    budgets: [{name: tokens, tokens: 50000, period: rolling, days: 7}]
"""


def counters(gate) -> tuple[object, ...]:
    limiter = gate.plan().limiter
    now = int(gate.clock.monotonic() * 1e9)
    return (*(limiter.tightest(now, family) for family in range(4)), *(limiter.committed(i) for i in range(2)))


def test_lesson_2_a_place_is_free_however_a_request_ends(gate) -> None:
    """Counters that only a natural end decrements leak; here nothing is a counter of its own."""
    gate, chance = gate(ALL), random.Random(2)
    held: list[Ticket] = []
    for _ in range(3_000):
        gate.clock.advance(0.2)
        ticket = gate.ask("k", 1, 1, 1)
        if isinstance(ticket, Ticket):
            held.append(ticket)
        if held and (chance.random() < 0.6 or len(held) == 3):
            one = held.pop(chance.randrange(len(held)))
            end = chance.choice(["settle", "twice", "void", "drop", "raise"])
            if end in ("settle", "twice"):
                assert one.settle(gate.clock.monotonic(), 1, 0, 1)
                assert end == "settle" or not one.settle(gate.clock.monotonic(), 1, 0, 1)
            elif end == "void":
                assert one.void(gate.clock.monotonic())
            elif end == "raise":
                try:
                    raise RuntimeError(one)
                except RuntimeError as error:
                    error.args = ()
            del one
    held.clear()
    del ticket
    assert [reserved for _, reserved, _ in (gate.plan().limiter.committed(i) for i in range(2))] == [0, 0]
    assert len([ticket for ticket in [gate.ask() for _ in range(3)] if isinstance(ticket, Ticket)]) == 3


def test_lesson_2_the_place_is_free_once_settle_returns(gate) -> None:
    """Settled before the last byte: whoever reads that byte may ask again at once."""
    gate = gate(ALL)
    held = [gate.take(), gate.take(), gate.take()]
    assert gate.refuse().cause == "slots"
    held[0].settle(gate.clock.monotonic(), 0, 0, 0)
    gate.take()


def test_lesson_3_a_rejected_request_changes_no_counter(gate) -> None:
    """Whichever of the limits refuses it."""
    gate = gate(ALL)
    held = [gate.take("k", 10, 10, 10) for _ in range(3)]
    before = counters(gate)
    assert gate.refuse("k", 1, 1, 1).cause == "slots"
    assert counters(gate) == before
    held.pop().settle(gate.clock.monotonic(), 10, 10, 10)
    before = counters(gate)
    for amounts, cause in (
        ((100_001, 0, 0), "rate"),
        ((60_000, 0, 0), "budget"),
        ((0, 0, 101 * 10**9), "budget"),
    ):
        assert gate.refuse("k", *amounts).cause == cause
        assert counters(gate) == before
    assert isinstance(gate.ask("k", 1, 1, 1), Ticket)


def test_lesson_4_no_caller_is_trusted_to_skip_the_reservation(gate) -> None:
    """A thousand at once with one unit left: what is admitted may cost one unit."""
    gate = gate("keys: [{name: k, hash: HASH, budgets: [{amount: 1}]}]")
    found = [gate.ask("k", money=3 * 10**8) for _ in range(1_000)]
    admitted = [ticket for ticket in found if isinstance(ticket, Ticket)]
    assert len(admitted) == 3
    assert {one.cause for one in found if isinstance(one, Rejection)} == {"budget"}


def test_lesson_5_reserve_and_settle_sum_to_what_it_cost(gate) -> None:
    gate, chance = gate(ALL), random.Random(5)
    money = tokens = 0
    for _ in range(500):
        gate.clock.advance(1)
        ticket = gate.ask("k", 20, 20, 10**8)
        if not isinstance(ticket, Ticket):
            break
        cost = chance.randrange(2 * 10**8), chance.randrange(60)
        how = chance.random()
        if how < 0.2:
            ticket.void(gate.clock.monotonic())
        elif how < 0.3:
            ticket.mark(cost[1], cost[0])
            del ticket  # dropped: charged what it had marked
            money, tokens = money + cost[0], tokens + cost[1]
        else:
            ticket.settle(gate.clock.monotonic(), cost[1], 0, cost[0])
            money, tokens = money + cost[0], tokens + cost[1]
        assert [gate.plan().limiter.committed(i)[:2] for i in range(2)] == [(money, 0), (tokens, 0)]
    assert money > 0
