"""The policy stage: what the policies of the snapshot let a request do, before it is limited or sent anywhere.

Owns which facts of a request policies see. A verdict holds for the whole request, retries included; a budget that sends
it to another model asks again. Synchronous; called only where there is a rulebook.
"""

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.policy.question import EVERY_TIER, TIERS, Question
from fastpath.policy.rulebook import Rulebook
from fastpath.settings import DataClass, Key
from fastpath.snapshot import Route, Target

#: Class of a request that has no label yet. None is asked about before it has one.
UNSAID: DataClass = "P0"


def govern(ctx: RequestContext, rulebook: Rulebook, route: Route | None, key: Key | None) -> None:
    """Sets ctx.tiers and the record's policy. Raises 403, in one form whatever the reason: rules are not the caller's.

    A rule that takes tiers away counts only where the model has endpoints of these tiers. route: its model's; key: its
    caller.
    """
    assert route is not None
    assert ctx.path is not None
    verdict = rulebook.judge(ask(ctx, rulebook, key), _tiers_of(route.serving(ctx.path.template)))
    ctx.record.policy = verdict.rule
    if not verdict.tiers:
        raise errors.policy_blocked()
    ctx.tiers = verdict.tiers


def permitted(targets: tuple[Target, ...], tiers: int) -> tuple[Target, ...]:
    """Those of the targets that lie in one of the tiers."""
    return tuple([target for target in targets if TIERS[target.tier] & tiers])


def ask(ctx: RequestContext, rulebook: Rulebook, key: Key | None) -> Question:
    """The request as policies see it. key: its caller."""
    record = ctx.record
    assert ctx.path is not None
    assert record.model is not None
    path, level, at, address = ctx.path.template, record.data_class or UNSAID, record.ts, record.client
    if key is None:
        return Question(record.model, path, level, at, address=address)
    team = key.team or rulebook.team_of(key.tenant, key.user)
    return Question(record.model, path, level, at, key.name, key.user, team, key.tenant, address)


def _tiers_of(targets: tuple[Target, ...]) -> int:
    """Tiers that have an endpoint. Where none serves the path, all: that is for the relay to say."""
    found = 0
    for target in targets:
        found |= TIERS[target.tier]
    return found or EVERY_TIER
