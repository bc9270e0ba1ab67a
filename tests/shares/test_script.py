"""The script as Redis runs it, against its twin, and what it makes of garbage."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fastpath.publication.redis import Link
from fastpath.shares.lease import Answer
from fastpath.shares.redis import Ask, Exchange
from fastpath.shares.script import LEASE
from tests.shares.server import Server
from tests.shares.twin import Twin

CLOCK = "redis.call('TIME')"
FAKE = "{math.floor(tonumber(redis.call('GET', 'clock')) / 1000), tonumber(redis.call('GET', 'clock')) % 1000 * 1000}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def link(server: Server) -> AsyncIterator[Link]:
    made = Link(server.url, "fp", 5.0)
    await made.client.flushall()
    yield made
    await made.close()


def ask(**given: Any) -> Ask:
    usual = {
        "id": "one",
        "total": 100,
        "held": 0,
        "wanted": 0,
        "used": 0,
        "debt": 0,
        "hard": True,
        "remembered": 0,
        "known": 1,
    }
    return Ask(**{**usual, "lapse": 4_000, "keep": 3_600_000, **given})


async def run(link: Link, node: str, life: int, seq: int, one: Ask) -> Answer | None:
    assert LEASE.count(CLOCK) == 1
    numbers = await link.client.eval(  # type: ignore[no-untyped-call]
        LEASE.replace(CLOCK, FAKE), 1, "fp:part:one", node, life, seq, one.total, one.held, one.wanted, one.used,
        one.debt, one.lapse, int(one.hard), one.remembered, one.known, one.keep,
    )  # fmt: skip
    return Answer(*numbers[:6], settled=numbers[6] == 1) if len(numbers) > 1 else None


@pytest.mark.parametrize("seed", range(6))
async def test_it_decides_as_its_twin_does(link: Link, seed: int) -> None:
    """Some nodes, a few hundred asks of every kind: what is told, and what is kept between two of them, is the same."""
    chance, twin = random.Random(seed), Twin()
    hard = seed % 2 == 0
    held, lives, seqs = dict.fromkeys("abcd", 0), dict.fromkeys("abcd", 1), dict.fromkeys("abcd", 0)
    for _ in range(300):
        twin.now += chance.choice((0, 3, 250, 900, 250, 250, 12_000))
        await link.client.set("clock", twin.now)
        node = chance.choice("abcd")
        seqs[node] += chance.choice((1, 1, 1, 1, 0))
        if chance.random() < 0.05:
            lives[node], held[node] = lives[node] + 1, chance.randint(0, held[node])
        kept = chance.randint(0, held[node]) if chance.random() < 0.3 else held[node]
        one = ask(
            held=kept, used=chance.randint(0, kept), wanted=chance.randint(kept, 130), hard=hard,
            debt=chance.randrange(10**10), remembered=chance.choice((0, 0, 90)), known=chance.randint(0, 4),
        )  # fmt: skip
        expected = twin.lease(node, lives[node], seqs[node], one)
        assert await run(link, node, lives[node], seqs[node], one) == expected
        if expected is not None:
            held[node] = expected.held
        if chance.random() < 0.01:
            twin.flush()
            await link.client.delete("fp:part:one")


async def test_a_doubled_or_late_call_changes_nothing(link: Link) -> None:
    await link.client.set("clock", 1_000_000)
    assert await run(link, "a", 5, 1, ask(held=10)) is not None
    for life, seq in ((5, 1), (5, 0), (4, 99)):
        assert await run(link, "a", life, seq, ask(held=0)) is None
    there = await link.client.hget("fp:part:one", "n:a")
    assert there.split()[:4] == [b"5", b"1", b"1000000", b"10"]


@pytest.mark.parametrize(
    "garbage",
    [
        {"n:b": "x"}, {"n:b": "1 1 1 -5 1 1 1 0"}, {"n:b": "1 1 1 99999999999999999999 1 1 1 0"}, {"m": "9" * 400},
        {"n:b": "1e3 inf 1 1 1 1 1 1"}, {"f": "a b"}, {"": ""},
        {"b": "nan", "o": "-3"},
    ],
)  # fmt: skip
async def test_what_makes_no_sense_in_redis_is_as_if_it_were_not_there(link: Link, garbage: dict[str, str]) -> None:
    await link.client.hset("fp:part:one", mapping=garbage)
    exchange = Exchange(link, "a", 1)
    first = await exchange.lease([ask(wanted=100)])
    await asyncio.sleep(0.7)
    (second,) = await exchange.lease([ask(held=0, wanted=100)])
    assert first[0] is not None
    assert second is not None
    assert (second.held, second.nodes) == (100, 1)


async def test_a_key_of_another_type_is_replaced(link: Link) -> None:
    await link.client.set("fp:part:one", "x")
    await link.client.lpush("fp:nodes", "x")
    exchange = Exchange(link, "a", 1)
    assert await exchange.hello() == 1
    assert (await exchange.lease([ask()]))[0] is not None


async def test_keys_pass_away(link: Link) -> None:
    exchange = Exchange(link, "a", 1)
    await exchange.hello()
    await exchange.lease([ask()])
    assert 0 < await link.client.pttl("fp:part:one") <= 3_600_000
    assert await link.client.pttl("fp:nodes") > 0


async def test_a_redis_that_forgot_the_script_is_given_it_again(link: Link) -> None:
    exchange = Exchange(link, "a", 1)
    await exchange.lease([ask()])
    await link.client.script_flush()
    assert (await exchange.lease([ask()]))[0] is not None


@pytest.mark.parametrize("moment", [800, 2_800])  # one or the other comes first then
async def test_after_the_last_writes_were_lost_nobody_is_given_what_another_holds(link: Link, moment: int) -> None:
    async def at(moment: int, node: str, seq: int, one: Ask) -> int:
        await link.client.set("clock", 1_000_000 + moment)
        answer = await run(link, node, 1, seq, one)
        assert answer is not None
        return answer.held

    idle, busy = ask(known=2), ask(known=2, wanted=100)
    for moment_of_b, moment_of_a, seq in ((0, 0, 1), (590, 700, 2)):
        assert await at(moment_of_b, "b", seq, busy) == 0
        assert await at(moment_of_a, "a", seq, idle) == 0
    before = await link.client.dump("fp:part:one")
    assert await at(701, "b", 3, busy) == 100
    await link.client.restore("fp:part:one", 0, before, replace=True)
    assert await at(moment, "a", 3, busy) == 0
    assert await at(moment + 1, "b", 4, ask(known=2, held=100, wanted=100)) == 100
    assert await at(moment + 2, "a", 4, busy) == 0


async def test_of_a_limit_that_is_not_hard_the_silent_lose_their_part(link: Link) -> None:
    exchange, other = Exchange(link, "a", 1), Exchange(link, "b", 1)
    await exchange.lease([ask(hard=False, lapse=300)])
    await asyncio.sleep(0.7)
    assert (await exchange.lease([ask(hard=False, lapse=300, wanted=100)]))[0] is not None
    await asyncio.sleep(0.4)
    (answer,) = await other.lease([ask(hard=False, wanted=100)])
    assert answer is not None
    assert (answer.held, answer.nodes) == (100, 1)
