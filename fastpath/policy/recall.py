"""Takes back where policies let requests go: what runs is held to the rules of now, when these are stricter.

Owns the judgement, which asks what the stage asks. Does not own the walk over what runs (`fastpath.identity.recall`).
The time that rules see is that at which a request came: none ends because a window opens or closes.
"""

from typing import TYPE_CHECKING

from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.policy.question import EVERY_TIER, TIERS
from fastpath.policy.stage import ask

if TYPE_CHECKING:
    from backends.base import EndpointSpec
    from fastpath.guard.recall import Places
    from fastpath.relay.delivery import Delivery
    from fastpath.settings import Key
    from fastpath.snapshot import Snapshot


def review(delivery: "Delivery", present: "Snapshot", places: "Places", key: "Key | None") -> GatewayError | None:
    """Takes from a request the places that the rules of now deny it. key: its caller, as it is now.

    Returns why it may not go on, and names the rule in its record; None when it may.
    """
    rulebook, ctx, current = present.rulebook, delivery.ctx, delivery.place
    if rulebook is None:
        return None
    question = ask(ctx, rulebook, key)
    passed = rulebook.judge(question, EVERY_TIER).tiers
    left = delivery.keep(lambda target: not _tiers_of(target.spec, places) & ~passed, withheld=False)
    if (left and current is None and passed) or (current and not _tiers_of(current, places) & ~passed):
        return None
    denied = _tiers_of(current, places) if current is not None else EVERY_TIER
    ctx.record.policy = rulebook.judge(question, denied).rule
    return errors.policy_blocked()


def _tiers_of(spec: "EndpointSpec", places: "Places") -> int:
    """Bits of the tiers that a place is of."""
    found = 0
    for each in places.of(spec):
        found |= TIERS[each.tier]
    return found
