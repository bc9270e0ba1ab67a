"""What was allowed is taken back: by a new snapshot at once, by a caller's end within a second, always in slices."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.identity.keys import KeyTable
from fastpath.identity.recall import LOOK_EVERY, SLICE, SPELL, Recall, find_caller
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

    def fault(self, error: Exception) -> None:
        self.refuse(errors.internal())

    def refuse(self, error: GatewayError) -> None:
        assert not self.ctx.settled, "ended twice"
        self.ctx.settled = True
        self.ended = error.code


def objection(running: Any, present: Any) -> GatewayError | None:
    try:
        find_caller(running.ctx, present)
    except GatewayError as error:
        return error
    return None


class ByKeys:
    """Judges by a table alone. cost: seconds that each judgement takes."""

    def __init__(self, house: "House", *keys: Key, cost: float = 0.0) -> None:
        self._present = house.present(*keys)
        self._clock, self._cost = house.clock, cost
        self.judged = self.lost = 0

    def objection(self, running: Any) -> GatewayError | None:
        self.judged += 1
        self._clock.advance(self._cost)
        return objection(running, self._present)

    def moment(self, now: float) -> float:
        return now

    def losses(self) -> int:
        return self.lost


class House:
    """A worker whose loop turns when it is told to, at a time of its own."""

    def __init__(self, running: list[Running]) -> None:
        self.clock = ManualClock()
        self.due: list[Callable[[], None]] = []
        loop = SimpleNamespace(call_soon=self.due.append)
        self.runtime: Any = SimpleNamespace(clock=self.clock, loop=loop, deliveries=set(running))
        self.recall = Recall(self.runtime)

    def present(self, *keys: Key, tokens: Any = None) -> Any:
        return SimpleNamespace(keys=KeyTable(keys, HASHER, self.clock.now) if keys else None, tokens=tokens)

    def renew(self, *keys: Key, cost: float = 0.0) -> ByKeys:
        judge = ByKeys(self, *keys, cost=cost)
        self.recall.renew(judge)  # type: ignore[arg-type]  # its deliveries are not real
        return judge

    def turn(self) -> int:
        """One turn of the loop: how many callbacks it had."""
        now, self.due[:] = self.due[:], []
        for each in now:
            each()
        return len(now)


KEPT = key("kept")


def test_only_those_end_whose_key_lost_its_right() -> None:
    running = [
        Running(key("gone")),
        Running(key("narrow")),
        Running(key("narrow"), "other"),
        Running(KEPT),
        Running(None),
        Running(Key(name="by a token", hash="")),
    ]
    house = House(running)
    house.renew(key("narrow", models=("other",)), KEPT)
    while house.turn():
        pass
    ended = ["invalid_api_key", "permission_denied", None, None, None, "invalid_api_key"]
    assert [each.ended for each in running] == ended


def test_a_gateway_that_asks_for_nothing_any_more_ends_nobody() -> None:
    house = House([])
    assert objection(Running(KEPT), house.present()) is None
    answer = SimpleNamespace(find=lambda credential, request: None)
    assert objection(Running(KEPT), house.present(tokens=answer)) is not None, "tokens alone let no key in"


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
    error = objection(running, house.present(key("alpha", **scope)))
    assert (error.code if error is not None else None) == code
    if "expires" in scope and code is None:
        assert running.ctx.ends > house.clock.now()


def test_many_are_walked_in_slices_and_a_newer_snapshot_counts_at_once() -> None:
    running = [Running(key("alpha")) for _ in range(5 * SLICE)]
    house = House(running)
    house.renew(key("alpha", models=("other",)))
    assert all(each.ended is None for each in running)
    assert house.turn() == 1
    assert sum(each.ended is not None for each in running) == SLICE
    house.renew(key("alpha"))
    turns = 0
    while house.turn():
        turns += 1
        assert turns < 10
    assert sum(each.ended is not None for each in running) == SLICE


@pytest.mark.parametrize(("cost", "slice"), [(0.0, SLICE), (0.0001, 20), (0.0003, 7), (1.0, 1)])
def test_five_thousand_are_walked_in_turns_of_two_milliseconds(cost: float, slice: int) -> None:
    """However much a judgement costs; the last of a turn may begin just before its end."""
    house = House([Running(KEPT) for _ in range(5_000)])
    judge = house.renew(KEPT, cost=cost)
    turns = 0
    while True:
        before, began = judge.judged, house.clock.monotonic()
        if not house.turn():
            break
        turns += 1
        assert judge.judged - before <= slice + 1
        assert house.clock.monotonic() - began <= max(SPELL + cost, cost) + 1e-9
    assert judge.judged == 5_000
    assert 5_000 / (slice + 1) <= turns <= 5_000 / slice + 1


def test_whoever_cannot_be_judged_does_not_go_on_and_the_others_are_judged() -> None:
    running = [Running(KEPT) for _ in range(3)]
    house = House(running)
    judge = house.renew(KEPT)
    running[1].ctx.record = None  # a bug of ours
    running[1].ctx.key = key("kept", networks=("10.0.0.0/8",))
    judge._present = house.present(key("kept", networks=("10.0.0.0/8",)))
    while house.turn():
        pass
    assert [each.ended for each in running] == [None, "internal_error", None]


def test_a_key_that_ends_takes_its_requests_along_within_a_second() -> None:
    house = House([])
    now = house.clock.now()
    soon, later, never = Running(key("a"), ends=now + 3), Running(key("b"), ends=now + 60), Running(key("c"))
    judge = house.renew(key("b"), key("c"))
    house.runtime.deliveries |= {soon, later, never}
    elapsed = 0.0
    while soon.ended is None:
        house.clock.advance(0.1)
        elapsed += 0.1
        house.recall.sweep()
        house.turn()
    assert 3 <= elapsed <= 3 + LOOK_EVERY + 0.2
    assert (soon.ended, later.ended, never.ended) == ("invalid_api_key", None, None)
    assert judge.judged == 1


def test_five_thousand_that_end_together_are_ended_in_slices() -> None:
    house = House([Running(key("a"), ends=1.0) for _ in range(5_000)])
    house.renew(KEPT)
    house.recall._left.clear()
    house.turn()
    house.clock.advance(LOOK_EVERY)
    house.recall.sweep()
    turns = 0
    while house.turn():
        turns += 1
    assert turns == -(-5_000 // SLICE)
    assert {each.ended for each in house.runtime.deliveries} == {"invalid_api_key"}


async def test_it_lets_the_loop_go_on_between_slices() -> None:
    running = [Running(key("alpha")) for _ in range(4 * SLICE)]
    house = House(running)
    house.runtime.loop = asyncio.get_running_loop()
    house.renew(KEPT)
    seen = []
    while running[0].ended is None or running[-1].ended is None or not all(each.ended for each in running):
        await asyncio.sleep(0)
        seen.append(sum(each.ended is not None for each in running))
    assert len(set(seen)) >= 4
