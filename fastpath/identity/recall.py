"""Takes back what was allowed: requests that run, or are still being read, under a key that has lost its right or where
their data may not be any more (`fastpath.guard.recall`).

Owns when they are judged anew (all of them after every new table; those whose key ends, once a second) and the walk in
slices, so that ten thousand streams do not stop the loop. Does not own how a delivery ends: in-band, settled and billed
as broken. Runs on the worker's loop.
"""

from typing import TYPE_CHECKING, Final

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.errors import GatewayError
from fastpath.guard.recall import Places, review
from fastpath.identity.keys import KeyTable
from fastpath.identity.scope import above_ceiling
from fastpath.identity.stage import REFUSED
from fastpath.runtime import Runtime
from fastpath.snapshot import Snapshot, may_use

if TYPE_CHECKING:
    from fastpath.relay.delivery import Delivery

SLICE: Final = 128
"""Requests judged before the loop goes on: about 0.3 ms."""
LOOK_EVERY: Final = 1.0


def objection(ctx: RequestContext, keys: KeyTable) -> GatewayError | None:
    """Why a request that was admitted under another table may not go on by this one; None when it may."""
    if ctx.key is None:
        return None
    key = keys.current(ctx.key)
    if key is None:
        return errors.unauthenticated(REFUSED)
    if ctx.asked and not may_use(key, ctx.asked):
        return errors.forbidden(f"This key may no longer use the model {ctx.asked[:200]!r}.")
    terms = keys.terms(key)
    ctx.ends = terms.ends if terms is not None else 0.0
    if terms is None or ctx.path is None:
        return None
    if ctx.record.data_class is not None and terms.excludes(ctx.record.data_class):
        return above_ceiling(ctx.record.data_class)
    return terms.objection(ctx.path.template, ctx.record.client)


def recheck(ctx: RequestContext, present: Snapshot) -> None:
    """Judges a request by the keys of now, which may have changed while its body came in. Raises 401 or 403."""
    if ctx.snapshot is present or present.keys is None:
        return
    error = objection(ctx, present.keys)
    if error is not None:
        raise error


class Recall:
    """Judges the deliveries of one worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._keys: KeyTable | None = None
        self._present: Snapshot | None = None
        self._places: Places | None = None
        self._left: list[Delivery] = []
        self._walking = False
        self._looked = runtime.clock.monotonic()

    def renew(self, keys: KeyTable | None, present: Snapshot | None = None) -> None:
        """There is a new table, and a new snapshot: all requests that run are judged by them."""
        self._keys, self._present = keys, present
        self._places = Places(present.specs) if present is not None else None
        if keys is not None or present is not None:
            self._left = list(self._runtime.deliveries)
            self._walk()

    def sweep(self) -> None:
        """Ends requests whose key has ended. Call it often; it looks once a second."""
        moment = self._runtime.clock.monotonic()
        if moment - self._looked < LOOK_EVERY:
            return
        self._looked, now = moment, self._runtime.clock.now()
        for delivery in [each for each in self._runtime.deliveries if 0 < each.ctx.ends <= now]:
            delivery.refuse(errors.unauthenticated(REFUSED))

    def _walk(self) -> None:
        if self._left and not self._walking:
            self._walking = True
            self._runtime.loop.call_soon(self._step)

    def _step(self) -> None:
        self._walking = False
        for delivery in self._left[-SLICE:]:
            error = None if delivery.ctx.settled else self._objection(delivery)
            if error is not None:
                delivery.refuse(error)
        del self._left[-SLICE:]
        self._walk()

    def _objection(self, delivery: "Delivery") -> GatewayError | None:
        error = objection(delivery.ctx, self._keys) if self._keys is not None else None
        if error is None and self._present is not None and self._places is not None:
            error = review(delivery, self._present, self._places)
        return error
