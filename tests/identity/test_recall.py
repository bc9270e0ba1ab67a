"""What was allowed is taken back: by a new table at once, by a key's end within a second, in slices either way."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fastpath.errors import GatewayError
from fastpath.identity.keys import KeyTable
from fastpath.identity.recall import LOOK_EVERY, SLICE, Recall, objection
from fastpath.settings import Key
from fastpath.settings.token import KeyHasher
from scheduler.clock import ManualClock

HASHER = KeyHasher(bytes(range(32)))


def key(name: str, **scope: Any) -> Key:
    return Key(name=name, hash=HASHER.hash_text(name), **scope)


class Running:
    """A request that runs: what a delivery shows, and how it was ended."""

    def __init__(self, key: Key | None, model: str = "llama", ends: float = 0.0, data_class: str | None = None) -> None:
        self.ended: str | None = None
        record = SimpleNamespace(client="10.1.2.3", data_class=data_class)
        path = SimpleNamespace(template="/v1/chat/completions")
        self.ctx: Any = SimpleNamespace(key=key, asked=model, ends=ends, record=record, path=path, settled=False)

    def refuse(self, error: GatewayError) -> None:
        assert not self.ctx.settled, "ended twice"
        self.ctx.settled = True
        self.ended = error.code


class House:
    """A worker whose loop turns when it is told to, at a time of its own."""

    def __init__(self, running: list[Running]) -> None:
        self.clock = ManualClock()
        self.due: list[Callable[[], None]] = []
        loop = SimpleNamespace(call_soon=self.due.append)
        self.runtime: Any = SimpleNamespace(clock=self.clock, loop=loop, deliveries=set(running))
        self.recall = Recall(self.runtime)

    def table(self, *keys: Key) -> KeyTable:
        return KeyTable(keys, HASHER, self.clock.now)

    def turn(self) -> int:
        """One turn of the loop: how many callbacks it had."""
        now, self.due[:] = self.due[:], []
        for each in now:
            each()
        return len(now)


def test_only_those_end_whose_key_lost_its_right() -> None:
    running = [
        Running(key("gone")),
        Running(key("narrow")),
        Running(key("narrow"), "other"),
        Running(key("kept")),
        Running(None),
        Running(Key(name="by a token", hash="")),
    ]
    house = House(running)
    house.recall.renew(house.table(key("narrow", models=("other",)), key("kept")))
    while house.turn():
        pass
    assert [each.ended for each in running] == ["invalid_api_key", "permission_denied", None, None, None, None]


@pytest.mark.parametrize(
    ("scope", "data_class", "code"),
    [
        ({"paths": ("/v1/embeddings",)}, None, "permission_denied"),
        ({"paths": ("/v1/chat/completions",)}, None, None),
        ({"networks": ("10.0.0.0/16",)}, None, "permission_denied"),
        ({"networks": ("10.1.0.0/16",)}, None, None),
        ({"data_class": "P2"}, "P1", "permission_denied"),
        ({"data_class": "P1"}, "P1", None),
        ({"data_class": "P2"}, None, None),
        ({"expires": "2020-01-01T00:00:00Z"}, None, "invalid_api_key"),
        ({"expires": "2040-01-01T00:00:00Z"}, None, None),
    ],
)
def test_each_part_of_a_scope_counts(scope: dict[str, Any], data_class: str | None, code: str | None) -> None:
    house = House([])
    running = Running(key("alpha"), data_class=data_class)
    error = objection(running.ctx, house.table(key("alpha", **scope)))
    assert (error.code if error is not None else None) == code
    if "expires" in scope and code is None:
        assert running.ctx.ends > house.clock.now()


def test_many_are_walked_in_slices_and_a_newer_table_counts_at_once() -> None:
    running = [Running(key("alpha")) for _ in range(5 * SLICE)]
    house = House(running)
    house.recall.renew(house.table(key("alpha", models=("other",))))
    assert all(each.ended is None for each in running)
    assert house.turn() == 1
    assert sum(each.ended is not None for each in running) == SLICE
    house.recall.renew(house.table(key("alpha")))
    turns = 0
    while house.turn():
        turns += 1
        assert turns < 10
    assert sum(each.ended is not None for each in running) == SLICE


def test_a_key_that_ends_takes_its_requests_along_within_a_second() -> None:
    house = House([])
    now = house.clock.now()
    soon, later, never = Running(key("a"), ends=now + 3), Running(key("b"), ends=now + 60), Running(key("c"))
    house.runtime.deliveries |= {soon, later, never}
    elapsed = 0.0
    while soon.ended is None:
        house.clock.advance(0.1)
        elapsed += 0.1
        house.recall.sweep()
    assert 3 <= elapsed <= 3 + LOOK_EVERY + 0.2
    assert (soon.ended, later.ended, never.ended) == ("invalid_api_key", None, None)


async def test_it_lets_the_loop_go_on_between_slices() -> None:
    running = [Running(key("alpha")) for _ in range(4 * SLICE)]
    house = House(running)
    house.runtime.loop = asyncio.get_running_loop()
    house.recall.renew(house.table())
    seen = []
    while running[0].ended is None or running[-1].ended is None or not all(each.ended for each in running):
        await asyncio.sleep(0)
        seen.append(sum(each.ended is not None for each in running))
    assert len(set(seen)) >= 4
