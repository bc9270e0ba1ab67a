"""Facts in, books changed: one contract over both databases."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.ledger import fresh, journal, settlement
from controlplane.ledger.balances import Subject
from controlplane.ledger.books import Ledger
from controlplane.ledger.dockets import Docket
from controlplane.ledger.fold import Fold, Record
from controlplane.ledger.plain import Plains
from controlplane.ledger.posting import Line, Numbering, line_of, row_of
from controlplane.ledger.rules import Policy
from controlplane.ledger.states import State
from controlplane.ledger.tables import ATTEMPTS, QUARANTINE, REQUESTS, TRANSACTIONS, Flag, Level
from controlplane.ledger.tally import Tally
from controlplane.store.database import Database
from fastpath.money.price import Billable, Price
from fastpath.outbox.facts import Fact, Payer, encode
from tests.controlplane.ledger.facts import (
    ALWAYS,
    CHARGE,
    COST,
    RESERVED,
    SECRET,
    Now,
    delivered,
    end,
    failed,
    intent,
    mark,
    refused,
    request_id,
)
from tests.controlplane.store.cluster import Cluster

ACME = Subject("acme")


async def totals(ledger: Ledger, subject: Subject = ACME) -> tuple[int, int, int]:
    """(charge, cost, requests) in USD."""
    found = {balance.currency: balance for balance in await ledger.balances(subject, ALWAYS)}
    return (found["USD"].charge, found["USD"].cost, found["USD"].requests) if "USD" in found else (0, 0, 0)


async def count(database: Database, table: object, *where: object) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table).where(*where))).scalar_one())


async def state_of(database: Database, number: int) -> int:
    async with database.read() as connection:
        query = select(REQUESTS.c.state).where(REQUESTS.c.request == request_id(number))
        return int((await connection.execute(query)).scalar_one())


def traffic(count: int, seed: int = 1) -> Iterator[Fact]:
    """Requests of many kinds, each request's facts in their order."""
    chance = random.Random(seed)
    for number in range(count):
        kind = chance.randrange(10)
        payer = Payer("acme", f"team-{number % 3}", f"user-{number % 7}", f"key-{number % 11}")
        if kind == 0:
            yield refused(number)
            continue
        yield intent(number, payer=payer)
        if kind < 4:
            yield mark(number)
        if kind == 1:
            yield intent(number, 2, payer=payer, endpoint="openai-2")
            yield end(number, failed(1, Billable(input=100)), delivered(2), payer=payer)
        elif kind == 2:
            yield end(number, failed(1), payer=payer, status=502, outcome="error")
        else:
            yield end(number, payer=payer)


async def test_a_batch_is_booked(ledger: Ledger, database: Database) -> None:
    done = await ledger.settlement.settle([intent(1), mark(1), end(1), refused(2), intent(3)])
    assert (done.requests, done.posted, done.quarantined) == (3, 2, 0)
    assert await totals(ledger) == (CHARGE, COST, 1)
    assert [await state_of(database, number) for number in (1, 2, 3)] == [State.SETTLED, State.VOIDED, State.RESERVED]
    assert await ledger.violations() == []
    assert [found.rule for found in await ledger.violations(at_rest=True)] == ["J3"]
    assert await count(database, ATTEMPTS) == 1, "only what is open is kept"


async def test_every_level_has_its_balance(ledger: Ledger) -> None:
    await ledger.settlement.settle(traffic(60))
    tenant = await totals(ledger)
    for level, prefix, number in ((Level.TEAM, "team", 3), (Level.USER, "user", 7), (Level.KEY, "key", 11)):
        parts = [await totals(ledger, Subject("acme", level, f"{prefix}-{index}")) for index in range(number)]
        assert tuple(map(sum, zip(*parts, strict=True))) == tenant
    assert await totals(ledger, Subject("umbrella")) == (0, 0, 0)


async def test_F31_told_again_in_any_order_it_changes_nothing(ledger: Ledger) -> None:
    facts = list(traffic(120))
    await ledger.settlement.settle(facts)
    books = await totals(ledger)
    again = random.Random(2)
    for _ in range(5):
        sample = again.choices(facts, k=200)
        assert (await ledger.settlement.settle(sample)).posted == 0
    assert await totals(ledger) == books
    assert await ledger.violations(at_rest=True) == []


async def test_F31_shuffled_duplicated_and_cut_anywhere_it_comes_to_the_same(
    ledger: Ledger, database: Database
) -> None:
    facts = list(traffic(120))
    await ledger.settlement.settle(facts)
    expected = await totals(ledger)
    moved = [_moved(fact) for fact in facts]  # the same requests under other ids, for another tenant
    moved += moved[::3]
    chance = random.Random(3)
    chance.shuffle(moved)
    while moved:
        size = chance.randrange(1, 60)
        batch, moved = moved[:size], moved[size:]
        await ledger.settlement.settle(batch)
    assert await totals(ledger, Subject("moved")) == expected
    assert await ledger.violations(at_rest=True) == []
    assert await count(database, ATTEMPTS) == 0


def _moved(fact: Fact) -> Fact:
    import msgspec

    changed = msgspec.structs.replace(fact, request=b"\xff" + fact.request[1:])
    if hasattr(fact, "payer"):
        payer = msgspec.structs.replace(fact.payer, tenant="moved")
        changed = msgspec.structs.replace(changed, payer=payer)
    return changed


async def test_F27_settlers_on_the_same_facts_at_once(ledger: Ledger, url: str, now: Now) -> None:
    facts = list(traffic(200))
    others = [await Database.open(url) for _ in range(3)]
    ledgers = [ledger, *(Ledger(other, SECRET, now=now) for other in others)]
    chance = random.Random(4)
    await asyncio.gather(*(one.settlement.settle(chance.sample(facts, len(facts))) for one in ledgers))
    assert (await ledger.settlement.settle(facts)).posted == 0
    assert await ledger.violations(at_rest=True) == []
    charge, cost, requests = await totals(ledger)
    assert charge % CHARGE == 0
    assert (charge > 0, cost > 0, requests > 0) == (True, True, True)
    for other in others:
        await other.close()


async def test_F27_writers_of_the_same_requests_never_wait_in_a_circle(
    cluster: Cluster, migrated: str, now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is plain to one is half known to the other, and both hold theirs before either goes on."""
    url, met = cluster.url(cluster.create_database(migrated)), asyncio.Barrier(2)

    async def meet(connection: AsyncConnection, sums: Tally) -> None:
        await met.wait()
        await add_sums(connection, sums)

    add_sums = fresh.add_sums
    monkeypatch.setattr(fresh, "add_sums", meet)
    databases = [await Database.open(url) for _ in range(2)]
    one, other = (Ledger(database, SECRET, now=now) for database in databases)
    await asyncio.gather(
        one.settlement.settle([intent(5), end(5), intent(3)]), other.settlement.settle([intent(3), end(3), intent(5)])
    )
    assert [database.errors["contended"] for database in databases] == [0, 0]
    monkeypatch.undo()
    await one.settlement.settle([end(3), end(5)])
    assert await totals(one) == (2 * CHARGE, 2 * COST, 2)
    assert await one.violations(at_rest=True) == []
    for database in databases:
        await database.close()


async def test_F27_ends_that_come_while_their_requests_are_given_up(ledger: Ledger, url: str, now: Now) -> None:
    other = await Database.open(url)
    giving_up = Ledger(other, SECRET, now=now).settlement
    for number in range(0, 400, 40):
        numbers = range(number, number + 40)
        await ledger.settlement.settle(f for n in numbers for f in (intent(n), mark(n, usage=Billable(input=1_000))))
        await asyncio.gather(
            ledger.settlement.settle([end(n) for n in numbers]),
            giving_up.settle_abandoned([request_id(n) for n in numbers]),
        )
    assert await totals(ledger) == (400 * CHARGE, 400 * COST, 400)
    assert await ledger.violations(at_rest=True) == []
    await other.close()


async def test_ten_thousand_requests_take_at_most_a_hundred_writing_statements(
    ledger: Ledger, database: Database
) -> None:
    seen: list[str] = []

    def note(
        _connection: object, _cursor: object, statement: str, _values: object, _context: object, many: bool
    ) -> None:
        assert not many, "a statement for each row in disguise"
        if statement.lstrip().split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE", "MERGE", "WITH"):
            seen.append(statement.split("(")[0])

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    done = await ledger.settlement.settle(
        fact for number in range(10_000) for fact in (intent(number), mark(number), end(number))
    )
    assert (done.requests, done.posted) == (10_000, 20_000)
    assert 4 <= len(seen) <= 100, len(seen)
    assert await count(database, TRANSACTIONS) == 20_000


async def test_what_another_wrote_meanwhile_is_booked_once(ledger: Ledger, database: Database) -> None:
    """Plain requests that are new beside some that are there, and one whose transaction is there without it."""
    first = [fact for n in range(0, 40, 2) for fact in (intent(n), end(n))]
    assert (await ledger.settlement.settle(first)).posted == 40
    posted = {request_id(n) for n in (1, 3)}
    async with database.begin() as connection:
        await journal.write_lines(connection, [cost_of(n) for n in (1, 3)])
    done = await ledger.settlement.settle(fact for n in range(40) for fact in (intent(n), end(n)))
    assert (done.requests, done.posted, done.again) == (20, 40 - len(posted), 20)
    assert await totals(ledger) == (40 * CHARGE, 40 * COST, 40)
    assert await ledger.violations(at_rest=True) == []
    assert await count(database, TRANSACTIONS) == 80


def cost_of(number: int) -> Line:
    docket = Docket.of(intent(number))
    docket.add(end(number))
    fold = Fold(Policy(), Numbering(SECRET), 1, Record(docket.request))
    fold.apply(docket)
    _, cost = fold.postings
    return line_of(cost)


async def test_F33_a_dead_worker(ledger: Ledger, database: Database) -> None:
    await ledger.settlement.settle([intent(1), mark(1), intent(2), end(3), intent(4), end(4)])
    assert sorted(await ledger.settlement.open_requests(before=now_after())) == [request_id(n) for n in (1, 2, 3)]
    done = await ledger.settlement.settle_abandoned([request_id(n) for n in (1, 2, 3, 4, 99)])
    assert (done.requests, done.posted) == (3, 3)
    assert await totals(ledger) == (2 * CHARGE, 2 * COST + 3_000, 3)
    assert (await ledger.settlement.settle_abandoned([request_id(1)])).requests == 0
    assert await ledger.violations(at_rest=True) == []
    async with database.read() as connection:
        flags = (await connection.execute(select(REQUESTS.c.flags).order_by(REQUESTS.c.request))).scalars().all()
    guess = Flag.ESTIMATED | Flag.ABANDONED
    assert flags == [guess, guess, guess | Flag.UNKNOWN_ATTEMPT, 0]


def now_after() -> float:
    return Now().seconds + 10


async def test_a_late_end_corrects_by_a_new_transaction(ledger: Ledger, database: Database) -> None:
    await ledger.settlement.settle([intent(1), mark(1, usage=Billable(input=1_000))])
    await ledger.settlement.settle_abandoned([request_id(1)])
    assert await totals(ledger) == (3_300, 3_000, 1)
    for _ in range(2):
        await ledger.settlement.settle([end(1)])
    assert await totals(ledger) == (CHARGE, COST, 1)
    assert await count(database, TRANSACTIONS) == 4
    assert await ledger.violations(at_rest=True) == []
    assert await count(database, ATTEMPTS) == 0


BAD: list[tuple[str, Fact]] = [
    ("short id", intent(b"short")),
    ("an id with text", intent(b"x" * 17)),
    ("NUL in a name", intent(50, payer=Payer("ac\0me"))),
    ("half a surrogate pair", intent(50, payer=Payer("ac\ud800me"))),
    ("a novel", intent(50, payer=Payer("x" * 5_000))),
    ("attempt 0", intent(50, 0)),
    ("attempt 2**40", intent(50, 2**40)),
    ("negative reservation", intent(50, reserved=-1)),
    ("reservation beyond int64", intent(50, reserved=2**63)),
    ("not a number", intent(50, ts=float("nan"))),
    ("endless", end(50, ts=float("inf"))),
    ("36 days late", end(50, ts=Now().seconds - 36 * 86_400)),
    ("36 days early", intent(50, ts=Now().seconds + 36 * 86_400)),
    ("a currency of four", intent(50, price=Price("v", "USDX"))),
    ("a currency in small letters", intent(50, price=Price("v", "usd"))),
    ("a negative price", intent(50, price=Price("v", "USD", input=-1))),
    ("a price beyond int64", intent(50, price=Price("v", "USD", output=2**64 - 1))),
    ("a negative tier", intent(50, price=Price("v", "USD", long=Price("w", "USD", output=-5)))),
    ("delivered twice", end(50, delivered(1), delivered(2))),
    ("the same attempt twice", end(50, failed(1), delivered(1))),
    ("status", end(50, status=-7)),
    ("a mark of no attempt", mark(50, 0)),
]


@pytest.mark.parametrize("fact", [fact for _, fact in BAD], ids=[name for name, _ in BAD])
async def test_F32_a_poisoned_fact_is_set_aside_and_others_flow(ledger: Ledger, database: Database, fact: Fact) -> None:
    batch = [intent(1), fact, end(1), intent(2), end(2)]
    for _ in range(2):
        done = await ledger.settlement.settle(batch)
        assert await totals(ledger) == (2 * CHARGE, 2 * COST, 2)
    assert done.quarantined == 0, "the same fact is in quarantine once"
    assert await count(database, QUARANTINE) == 1
    assert await ledger.violations(at_rest=True) == []


async def test_F32_what_the_database_refuses_is_tried_three_times_and_its_sum_is_visible(
    ledger: Ledger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bytes] = []

    def stored(line: Line) -> tuple[object, ...]:
        if request_id(7) in line.row:
            tried.append(line.id)
            raise OverflowError("int too big to convert")  # as a driver says it
        return row_of(line)

    async def written(plains: Plains, connection: AsyncConnection) -> None:
        if any(isinstance(value, bytearray) and value.startswith(request_id(7)) for value in plains.values):
            raise OverflowError("int too big to convert")
        await write_fresh(plains, connection)

    write_fresh = settlement.write_fresh
    monkeypatch.setattr(journal, "row_of", stored)
    monkeypatch.setattr(settlement, "write_fresh", written)
    facts = [fact for number in range(20) for fact in (intent(number), end(number))]
    done = await ledger.settlement.settle(facts)
    assert done.quarantined == 1
    assert len(tried) >= 3
    assert await totals(ledger) == (19 * CHARGE, 19 * COST, 19)
    assert await state_of(database, 7) == State.RESERVED, "its reservation shows"
    async with database.read() as connection:
        row = (await connection.execute(select(QUARANTINE))).one()
    assert (row.tries, bytes(row.fact), row.reason) == (3, encode(end(7)), "could not be booked: OverflowError")
    monkeypatch.undo()
    await ledger.settlement.settle([end(7)])  # mended: it is simply sent again
    assert await ledger.resolve(bytes(row.id), "booked after an upgrade", "ada")
    assert not await ledger.resolve(bytes(row.id), "twice", "ada")
    assert await ledger.stakes() == []
    assert await totals(ledger) == (20 * CHARGE, 20 * COST, 20)


async def test_a_balance_that_would_burst_takes_only_the_culprit(ledger: Ledger) -> None:
    """Two requests of 2**62 nano-units each are possible one by one, and their sum is beyond 64 bits."""
    price = Price("v", "USD", output=2**62)
    usage = delivered(1, Billable(output=2**40))
    facts = [fact for n in (1, 2) for fact in (intent(n, price=price, reserved=2**62), end(n, usage))]
    facts += [intent(3), end(3, payer=Payer("acme"))]
    done = await ledger.settlement.settle(facts)
    assert done.quarantined >= 1
    assert [stake.facts for stake in await ledger.stakes()] != []
    assert await ledger.violations() == []
    charge, _, requests = await totals(ledger)
    assert charge <= 2**62
    assert requests >= 1


async def test_at_stake_is_what_an_intent_reserved(ledger: Ledger) -> None:
    await ledger.settlement.settle([intent(n, payer=Payer("a\0")) for n in (1, 2)])
    await ledger.settlement.quarantine(b"\x00garbage", "not a fact")
    assert [(stake.currency, stake.facts, stake.amount) for stake in await ledger.stakes()] == [
        ("USD", 2, 2 * RESERVED),
        ("XXX", 1, 0),
    ]


async def test_balances_are_by_the_moment_of_admission(ledger: Ledger, now: Now) -> None:
    from controlplane.ledger.balances import Period
    from controlplane.ledger.tables import QUARTER_MICROS

    day = 86_400
    midnight = now.seconds // day * day
    await ledger.settlement.settle(
        [intent(1, ts=midnight - 1), end(1, ts=midnight + 50), intent(2, ts=midnight), end(2)]
    )
    before = Period(0, int(midnight) * 1_000_000)
    after = Period(before.end, before.end + 96 * QUARTER_MICROS)
    for period in (before, after):
        (balance,) = await ledger.balances(ACME, period)
        assert (balance.charge, balance.requests) == (CHARGE, 1)
    with pytest.raises(ValueError, match="quarter"):
        Period(1, QUARTER_MICROS)
