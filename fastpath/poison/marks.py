"""What this worker runs, where a survivor can read it: a mark for each of the last requests that began.

Owns this worker's marks, and the refusal of requests that were running when two workers died. What happens to marks of
the dead is in `strikes`. The worker's loop; about half a microsecond per request.
"""

from hashlib import blake2b

from _native.arena import Arena
from _native.clock import Clock
from fastpath import errors
from fastpath.context import RequestContext
from fastpath.poison.strikes import RING, STRONG, Found, Strikes, mark_words

_WEAK = STRONG - 1


class Marks:
    """The marks of one worker, which has joined the arena."""

    def __init__(self, arena: Arena, clock: Clock) -> None:
        self._set = [word.set for word in mark_words(arena, arena.slot)]
        for put in self._set:
            put(0)  # of the worker that had the slot before
        self._running = [0] * RING
        self._next, self._last = 0, RING - 1
        self._clock = clock
        self._strikes = Strikes(arena)
        self._table = self._strikes.version
        self._version = -1
        self._found = Found()
        self._struck = self._found.struck
        self.look()  # a worker that takes a dead one's place may be asked the same before the first tick

    def look(self) -> None:
        """Takes in what was struck. Called every tick."""
        now, version = self._clock.monotonic(), self._table.value
        if self._struck or version != self._version:
            self._version = version
            self._found = self._strikes.read(now)
            self._struck = self._found.struck

    def begin(self, ctx: RequestContext, body: bytes) -> None:
        """Marks a request. Raises 422 for one that was running when two workers died."""
        if self._table.value != self._version:
            self.look()  # not a tick later: whoever sent it may send it again at once
        mark = weak_mark(body)
        if self._struck and mark in self._struck:
            mark = strong_mark(ctx, body)
            if mark in self._found.refused:
                raise errors.poisoned()
        place = self._next
        self._next = 0 if place == self._last else place + 1
        self._running[place] = mark
        self._set[place](mark)
        ctx.mark, ctx.mark_place = mark, place

    def end(self, ctx: RequestContext) -> None:
        """Its request is over."""
        mark, place = ctx.mark, ctx.mark_place
        if self._running[place] == mark:
            self._running[place] = 0
            self._set[place](0)
        if self._struck and ctx.record.outcome == "complete":
            self._clear(mark)

    def _clear(self, mark: int) -> None:
        if mark & STRONG and mark not in self._found.cleared:
            self._strikes.clear(mark, self._clock.monotonic())


def weak_mark(body: bytes) -> int:
    """A number that most different bodies do not share, of their lengths and some of their bytes; never 0."""
    size = len(body)
    mark = size + 1
    step = size // 16 + 1
    at = 0
    while at < size:
        mark = (mark * 31 + body[at]) & 0x3FFF_FFFF_FFFF_FFFF  # _WEAK, which is no number to C
        at += step
    return mark or 1


def strong_mark(ctx: RequestContext, body: bytes) -> int:
    """A number that no other request has: of its caller, path and whole body."""
    caller = ctx.key.name if ctx.key is not None else ctx.record.client
    whole = blake2b(body, digest_size=8, person=b"poison", key=blake2b(f"{caller} {ctx.record.path}".encode()).digest())
    return int.from_bytes(whole.digest(), "big") & _WEAK | STRONG
