"""The trace of a request's choices, read from its record. Owns what stands for a trace where none was written.

A model with one endpoint, or with replicas of one kind, is chosen from without a trace, which would cost each request
more than its choice: who could not be taken, and who was tried in which order, say all there is to say. Pure.
"""

from collections.abc import Sequence

import msgspec

from fastpath.explain.decision import Failure
from fastpath.guard.label import Label
from fastpath.policy.question import TIERS
from fastpath.record import DecisionRecord
from fastpath.route.trace import choices, inputs
from fastpath.snapshot import Route
from scheduler.choice import Choice, Dropped, Step


def choices_of(
    record: DecisionRecord, route: Route, path: str, tiers: int, label: Label | None = None
) -> tuple[Choice, ...]:
    """One choice per attempt; one of nobody where nobody could be asked. path: the template of the API path; tiers:
    those that policies left; label: of the data, None before it was classed."""
    if record.choices is not None:
        return choices(record)
    dropped, left = _sort(route, path, tiers, label)
    if dropped and not left:
        return (Choice(route.name, None, "nobody", "", tuple(dropped)),)
    found = []
    for endpoint in _tried(record):
        found.append(Choice(route.name, endpoint, "only" if len(left) == 1 else "picker", "", tuple(dropped)))
        if endpoint in left:
            left.remove(endpoint)
            dropped.append(Dropped(endpoint, Step.PERFORMANCE, "failed"))
    return tuple(found)


def evidence_of(record: DecisionRecord) -> bytes:
    """What the last choice was made by, for `replay`; nothing where nothing was weighed."""
    return msgspec.msgpack.encode(inputs(record.choices[-1])) if record.choices else b""


def failures_of(lines: Sequence[str] | None) -> tuple[Failure, ...]:
    """The failed attempts of a record's lines, each `endpoint cause moment`."""
    return tuple([Failure(*(*line.split(" ", 2), "", "")[:3]) for line in lines or ()])


def _sort(route: Route, path: str, tiers: int, label: Label | None) -> tuple[list[Dropped], list[str]]:
    """Who could not be taken and why, and who could."""
    dropped, left = [], []
    for target in route.targets:
        if not TIERS[target.tier] & tiers:
            dropped.append(Dropped(target.name, Step.SAFETY, "policy"))
        elif target.paths is not None and path not in target.paths:
            dropped.append(Dropped(target.name, Step.CAPABILITY, "path"))
        elif label is not None and not label.admits(target.tier, target.spec.region):
            reached = TIERS[target.tier] & label.reach
            dropped.append(Dropped(target.name, Step.SAFETY, "region" if reached else "tier"))
        else:
            left.append(target.name)
    return dropped, left


def _tried(record: DecisionRecord) -> list[str]:
    """The endpoints of a record's attempts, in their order."""
    tried = [failure.split(" ", 1)[0] for failure in record.failures or ()]
    if record.endpoint is not None and record.attempts > len(tried):
        tried.append(record.endpoint)
    return tried
