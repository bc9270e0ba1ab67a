"""What the limiter kernel does for a node that has a part of a limit: depth, meters, caps, and how they change."""

import threading

import pytest

from _native.arena import Arena, Pair, Refusal, Sizes, digest
from _native.limiter import ANY_PERIOD, Allowance, Budget, Limiter, Rate, Ticket

SIZES = Sizes(workers=4, families=8, series=16, lanes=16, histograms=1, buckets=64, limits=16, leases=512, cells=16,
              samples=16, budgets=32)  # fmt: skip
SECOND = 1_000_000_000
FAR = 1 << 60
DAY = 20_000


@pytest.fixture
def arena() -> Arena:
    made = Arena.anonymous(bytes(range(16)), SIZES)
    made.join(pid=1, start=1)
    return made


def caps(arena: Arena) -> tuple[Pair, Pair]:
    return arena.pair(digest("cap")), arena.pair(digest("other cap"))


def spender(arena: Arena, whole: int, days: int = 1) -> Limiter:
    one = Allowance(Budget(arena, digest("b"), days), "money", whole, whole, whole, caps=caps(arena))
    limiter = Limiter(arena, budgets=[one])
    limiter.turn(0, DAY, DAY - 1)
    return limiter


def take(limiter: Limiter, money: int) -> bool:
    ticket = limiter.admit(SECOND, FAR, 0, 0, money)
    return isinstance(ticket, Ticket) and ticket.settle(SECOND, 0, 0, money) >= 0


def test_a_cost_beyond_the_depth_passes_a_bucket_that_owes_nothing(arena: Arena) -> None:
    meter = arena.pair(digest("meter"))
    limiter = Limiter(
        arena, [Rate(arena.bucket(digest("r")), SECOND, 10, depth=2 * SECOND, request=0, input=1, meter=meter)]
    )
    assert isinstance(limiter.admit(SECOND, FAR, 5, 0, 0), Ticket)
    assert limiter.admit(SECOND, FAR, 1, 0, 0) == Refusal("rate", 0, 4 * SECOND)
    assert limiter.admit(SECOND, FAR, 5, 0, 0) == Refusal("rate", 0, 5 * SECOND)
    assert isinstance(limiter.admit(5 * SECOND, FAR, 1, 0, 0), Ticket)
    assert limiter.admit(50 * SECOND, FAR, 11, 0, 0) == Refusal("rate", 0, -1)
    assert meter.read() == (17, 6)  # refused, admitted


def test_a_meter_hears_of_corrections(arena: Arena) -> None:
    meter = arena.pair(digest("meter"))
    limiter = Limiter(arena, [Rate(arena.bucket(digest("r")), 1, 1_000, input=1, request=0, meter=meter)])
    ticket = limiter.admit(SECOND, FAR, 100, 0, 0)
    assert isinstance(ticket, Ticket)
    ticket.settle(SECOND, 30, 0, 0)
    assert meter.read() == (0, 30)


def test_what_all_pass_but_one_is_not_counted_as_admitted(arena: Arena) -> None:
    meter = arena.pair(digest("meter"))
    rates = [Rate(arena.bucket(digest("r")), 1, 1_000, meter=meter)]
    limiter = Limiter(arena, rates, [(arena.limit(digest("s")), 0)])
    assert isinstance(limiter.admit(SECOND, FAR, 0, 0, 0), Refusal)
    assert meter.read() == (0, 0)


def test_without_a_cap_for_the_period_nothing_is_committed(arena: Arena) -> None:
    limiter = spender(arena, 100)
    assert not take(limiter, 1)
    caps(arena)[0].set(DAY - 1, 100)
    assert not take(limiter, 1)
    caps(arena)[1].set(DAY, 10)
    assert take(limiter, 10)
    assert not take(limiter, 1)
    caps(arena)[1].set(DAY, 1_000)  # more than there is
    assert take(limiter, 90)
    assert not take(limiter, 1)


def test_the_next_period_has_a_cap_of_its_own(arena: Arena) -> None:
    limiter = spender(arena, 100)
    caps(arena)[0].set(DAY, 5)
    caps(arena)[1].set(DAY + 1, 7)
    assert not take(limiter, 7)
    limiter.turn(0, DAY + 1, DAY)
    assert take(limiter, 7)


def test_the_cap_of_a_rolling_budget_is_for_all_days(arena: Arena) -> None:
    limiter = spender(arena, 100, days=3)
    caps(arena)[0].set(ANY_PERIOD, 10)
    assert take(limiter, 6)
    limiter.turn(0, DAY + 2, DAY + 1)
    assert not take(limiter, 5)
    limiter.turn(0, DAY + 3, DAY + 2)
    assert take(limiter, 5)


def test_a_cap_is_lowered_exactly_while_others_spend(arena: Arena) -> None:
    """One thread asks without rest while the other takes the cap away bit by bit: what was admitted is never more than
    what was left of it."""
    whole = 200_000
    own, other = spender(arena, whole), spender(arena, whole)
    cap = caps(arena)[0]
    cap.set(DAY, whole)
    held: list[Ticket] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set() and len(held) < 400:
            found = own.admit(SECOND, FAR, 0, 0, 100)
            if isinstance(found, Ticket):
                held.append(found)

    asking = threading.Thread(target=ask)
    asking.start()
    left = whole
    while left > 0 and isinstance(ticket := other.admit(SECOND, FAR, 0, 0, 1_000), Ticket):
        left -= 1_000
        cap.set(DAY, left)
        ticket.void(SECOND)
    done.set()
    asking.join()
    assert 100 * len(held) <= left
    assert own.committed(0)[0] == 100 * len(held)


def test_places_change(arena: Arena) -> None:
    limiter = Limiter(arena, slots=[(arena.limit(digest("s")), 1)])
    first = limiter.admit(SECOND, FAR, 0, 0, 0)
    assert isinstance(first, Ticket)
    assert isinstance(limiter.admit(SECOND, FAR, 0, 0, 0), Refusal)
    limiter.widen(0, 2)
    assert isinstance(limiter.admit(SECOND, FAR, 0, 0, 0), Ticket)
    with pytest.raises(ValueError, match="no limiter takes a slot at 1"):
        limiter.widen(1, 1)


def test_a_pair_without_room_is_this_process_alone(arena: Arena) -> None:
    pairs = [arena.pair(digest(str(number))) for number in range(20)]
    assert [pair.full for pair in pairs].count(True) == 4
    pairs[-1].set(3, 4)
    assert pairs[-1].read() == (3, 4)
