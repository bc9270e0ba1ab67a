"""Leases through Redis: asks for many at once, within a budget of time, and believes nothing unseen.

Owns the keys `<prefix>:part:<id>` and `<prefix>:nodes`, and that every answer has the right form; whether it can be
true judges `lease`. Concurrency: one task on the supervisor's loop.
"""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final

import msgspec
from redis.exceptions import NoScriptError

from fastpath.publication.redis import Link, Unreachable
from fastpath.shares.lease import Answer
from fastpath.shares.script import HELLO, LEASE

AT_ONCE: Final = 64
"""Leases that one call asks for."""
FORGET_NODE: Final = 3_600_000
_NUMBERS: Final = 7


class Ask(msgspec.Struct, frozen=True):
    """What a node says of one limit, and wants. `known`: how many hold some of it, as far as it knows, 0 for a node
    that leaves; `lapse` and `keep`: ms after which its part, or all, is forgotten."""

    id: str
    total: int
    held: int
    wanted: int
    used: int
    debt: int
    hard: bool
    remembered: int
    known: int
    lapse: int
    keep: int


class Exchange:
    """One node's end. `life`: greater than that of every earlier process of this node."""

    def __init__(self, link: Link, node: str, life: int) -> None:
        self._link = link
        self._node = node
        self._life = life
        self._sequence = 0
        self._scripts = {text: sha1(text.encode(), usedforsecurity=False).hexdigest() for text in (LEASE, HELLO)}

    async def hello(self) -> int:
        """How many nodes said so within the last hour, this one included. Raises Unreachable."""
        (answer,) = await self._run(HELLO, [(self._link.key("nodes"), (self._node, FORGET_NODE))])
        numbers = _numbers(answer, 1)
        return min(max(numbers[0], 1), 1000) if numbers else 1

    async def lease(self, asks: Sequence[Ask]) -> list[Answer | None]:
        """Answers in the order of the asks, None for those that were void or made no sense. Raises Unreachable."""
        found: list[Answer | None] = []
        for at in range(0, len(asks), AT_ONCE):
            calls = [(self._link.key(f"part:{ask.id}"), self._words(ask)) for ask in asks[at : at + AT_ONCE]]
            found += [_read(answer) for answer in await self._run(LEASE, calls)]
        return found

    def _words(self, ask: Ask) -> tuple[int | str, ...]:
        self._sequence += 1
        return (
            self._node, self._life, self._sequence, ask.total, ask.held, ask.wanted, ask.used, ask.debt, ask.lapse,
            int(ask.hard), ask.remembered, ask.known, ask.keep,
        )  # fmt: skip

    async def _run(self, script: str, calls: Sequence[tuple[str, tuple[int | str, ...]]]) -> list[Any]:
        try:
            return await self._try(script, calls)
        except Unreachable as problem:
            if not isinstance(problem.__cause__, NoScriptError):
                raise
        await self._link.call(self._link.client.script_load(script))
        return await self._try(script, calls)

    async def _try(self, script: str, calls: Sequence[tuple[str, tuple[int | str, ...]]]) -> list[Any]:
        batch = self._link.client.pipeline(transaction=False)
        for key, words in calls:
            batch.evalsha(self._scripts[script], 1, key, *words)
        return await self._link.call(batch.execute())


def _read(answer: object) -> Answer | None:
    numbers = _numbers(answer, _NUMBERS)
    if numbers is None:
        return None
    held, target, total, used, debt, nodes, settled = numbers
    return Answer(held, target, total, used, debt, nodes, settled == 1)


def _numbers(answer: object, count: int) -> list[int] | None:
    """So many whole numbers that are not negative; None for anything else."""
    if not isinstance(answer, list) or len(answer) != count:
        return None
    sound = all(type(one) is int and 0 <= one < 1 << 53 for one in answer)
    return answer if sound else None
