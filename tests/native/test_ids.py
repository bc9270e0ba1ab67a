"""Ids of requests: in order of time, and of every byte drawn each byte once."""

import os

import pytest

from _native.ids import RequestIds
from scheduler.clock import ManualClock


def test_an_id_is_its_moment_and_what_was_drawn() -> None:
    drawn: list[bytes] = []

    def draw(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    ids = RequestIds(ManualClock(1_790_000_000.5), draw)
    made = [ids.next() for _ in range(600)]
    assert len(drawn) == 3
    assert {id[:16] for id in made} == {f"req_{1_790_000_000_500:012x}"}
    assert "".join(id[16:] for id in made) == b"".join(drawn).hex()[: 600 * 20]


def test_later_ids_are_greater() -> None:
    clock = ManualClock(1_790_000_000.5)
    ids = RequestIds(clock)
    first = [ids.next() for _ in range(256)]
    clock.advance(0.25)
    second = [ids.next() for _ in range(256)]
    assert max(first) < min(second)


def test_nobody_is_given_an_id_twice() -> None:
    clock = ManualClock()
    assert len({RequestIds(clock).next() for _ in range(1_000)}) == 1_000
    one, other = RequestIds(clock), RequestIds(clock)
    assert len({ids.next() for ids in (one, other) for _ in range(1_000)}) == 2_000


def test_a_generator_that_gives_too_little() -> None:
    with pytest.raises(RuntimeError, match="too few"):
        RequestIds(ManualClock(), lambda size: b"x").next()
