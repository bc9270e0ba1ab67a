"""Takes back what was allowed: requests that run, or are still being read, whose caller has lost its right, whose data
may not be where they are any more (`fastpath.guard.recall`), or which a policy denies now (`fastpath.policy.recall`).

Owns when they are judged anew (all of them by every new snapshot, and when keys of an issuer are gone; those whose key
or token ends, once a second) and the walk in slices, so that ten thousand streams do not stop the loop. What judges is
what admits. Does not own how a delivery ends: in-band, settled and billed as broken. Runs on the worker's loop.
"""

from typing import TYPE_CHECKING, Final, Protocol

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.errors import GatewayError
from fastpath.guard.recall import Places
from fastpath.guard.recall import review as review_place
from fastpath.identity.scope import Terms, above_ceiling
from fastpath.identity.stage import REFUSED, single_credential
from fastpath.policy.recall import review as review_policy
from fastpath.runtime import Runtime
from fastpath.settings import Key
from fastpath.snapshot import Snapshot, may_use

if TYPE_CHECKING:
    from fastpath.relay.delivery import Delivery

SLICE: Final = 128
"""Requests judged before the loop goes on, at most: about 0.5 ms, while no signature has to be checked."""
SPELL: Final = 0.002
"""Seconds after which it goes on anyway: the signature of a token costs 0.1 ms, and of some algorithms 0.35."""
LOOK_EVERY: Final = 1.0
#: `ends` of a request that cannot be judged yet, as nobody knows its issuer's keys: it is looked at again every time.
UNSETTLED: Final = 1e-3


def find_caller(ctx: RequestContext, present: Snapshot) -> Key | None:
    """The caller of a request as it is now. Raises what it would be refused with: 401 or 403, and 503 where nobody can
    tell yet. A gateway that asked for no key when the request came, or asks for none now, lets it go on."""
    if ctx.key is None or (present.keys is None and present.tokens is None):
        return None
    key, terms = _look_up(ctx, ctx.key, present)
    if ctx.asked and not may_use(key, ctx.asked):
        raise errors.forbidden(f"You may no longer use the model {ctx.asked[:200]!r}.")
    ctx.ends = terms.ends if terms is not None else 0.0
    if terms is not None and ctx.path is not None:
        if ctx.record.data_class is not None and terms.excludes(ctx.record.data_class):
            raise above_ceiling(ctx.record.data_class)
        error = terms.objection(ctx.path.template, ctx.record.client)
        if error is not None:
            raise error
    return key


def _look_up(ctx: RequestContext, key: Key, present: Snapshot) -> tuple[Key, Terms | None]:
    if key.hash:
        found = present.keys.current(key) if present.keys is not None else None
        if found is not None and present.keys is not None:
            return found, present.keys.terms(found)
    elif present.tokens is not None:
        bearer = present.tokens.find(single_credential(ctx) or b"", ctx.record.id)
        if bearer is not None:
            return bearer, bearer.terms
    raise errors.unauthenticated(REFUSED)


def recheck(ctx: RequestContext, present: Snapshot) -> None:
    """Judges a request by the callers of now, who may have changed while its body came in. Raises 401, 403 or 503."""
    if ctx.snapshot is not present:
        find_caller(ctx, present)


def hold_to(delivery: "Delivery", present: Snapshot) -> None:
    """Holds a request to a snapshot that came while its body did, before it is sent anywhere. Raises 403."""
    error = Review(present).objection(delivery)
    if error is not None:
        raise error


class Judge(Protocol):
    """Says why a request may not go on, None when it may."""

    def objection(self, delivery: "Delivery") -> GatewayError | None: ...

    def moment(self, now: float) -> float:
        """The latest time, Unix seconds, that any clock shows by which callers end; `now`: the machine's."""
        ...

    def losses(self) -> int:
        """Another number: it says no where it did not, though no snapshot is new."""
        ...


class Review:
    """Judges requests by one snapshot, whichever admitted them."""

    def __init__(self, present: Snapshot) -> None:
        self._present = present
        self._places = Places(present.specs)

    def objection(self, delivery: "Delivery") -> GatewayError | None:
        """As in `Judge`. Takes from the request what it may not be sent to any more."""
        key: Key | None = delivery.ctx.key
        try:
            key = find_caller(delivery.ctx, self._present) or key
        except GatewayError as refusal:
            if refusal.status != 503:
                return refusal
            delivery.ctx.ends = UNSETTLED
        error = review_place(delivery, self._present, self._places)
        return error or review_policy(delivery, self._present, self._places, key)

    def moment(self, now: float) -> float:
        """As in `Judge`."""
        tokens = self._present.tokens
        return now if tokens is None else max(now, tokens.now())

    def losses(self) -> int:
        """As in `Judge`: an issuer took a key back, and with it all that it signed."""
        return self._present.tokens.losses if self._present.tokens is not None else 0


class Recall:
    """Judges the deliveries of one worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._judge: Judge | None = None
        self._losses = 0
        self._left: list[Delivery] = []
        self._walking = False
        self._looked = runtime.clock.monotonic()

    def renew(self, judge: Judge) -> None:
        """There is a new snapshot: all requests that run are judged by it."""
        self._judge, self._losses = judge, judge.losses()
        self._left = list(self._runtime.deliveries)
        self._walk()

    def sweep(self) -> None:
        """Judges requests whose caller has ended by now, and all where keys of an issuer went away. Call it often; it
        looks once a second."""
        moment = self._runtime.clock.monotonic()
        if self._judge is None or moment - self._looked < LOOK_EVERY:
            return
        if self._judge.losses() != self._losses:
            self.renew(self._judge)
        self._looked, now = moment, self._judge.moment(self._runtime.clock.now())
        self._left.extend([each for each in self._runtime.deliveries if 0 < each.ctx.ends <= now])
        self._walk()

    def _walk(self) -> None:
        if self._left and not self._walking:
            self._walking = True
            self._runtime.loop.call_soon(self._step)

    def _step(self) -> None:
        self._walking = False
        clock = self._runtime.clock
        until = clock.monotonic() + SPELL
        for _ in range(min(SLICE, len(self._left))):
            self._judge_one(self._left.pop())
            if clock.monotonic() >= until:
                break
        self._walk()

    def _judge_one(self, delivery: "Delivery") -> None:
        assert self._judge is not None
        if delivery.ctx.settled:
            return
        try:
            error = self._judge.objection(delivery)
        except Exception as bug:
            delivery.fault(bug)  # whoever cannot be judged does not go on
            return
        if error is not None:
            delivery.refuse(error)
