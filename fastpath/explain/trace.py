"""The trace of a request's choices, read from its record. Owns what stands for a trace where none was written.

A model with one endpoint, or with replicas of one kind, is chosen from without a trace: who was tried, in which order,
says all there is to say. Pure.
"""

from collections.abc import Sequence

from fastpath.explain.decision import Failure
from fastpath.record import DecisionRecord
from scheduler.choice import Choice


def choices_of(record: DecisionRecord, model: str, replicas: int) -> tuple[Choice, ...]:
    """One choice per attempt. replicas: how many endpoints could be tried at first."""
    if record.choices is not None:
        return tuple(record.choices)
    reason = "only" if replicas == 1 else "picker"
    tried = [failure.split(" ", 1)[0] for failure in record.failures or ()]
    if record.endpoint is not None and record.attempts > len(tried):
        tried.append(record.endpoint)
    return tuple([Choice(model, endpoint, reason) for endpoint in tried])


def failures_of(lines: Sequence[str] | None) -> tuple[Failure, ...]:
    """The failed attempts of a record's lines, each `endpoint cause moment`."""
    return tuple([Failure(*(*line.split(" ", 2), "", "")[:3]) for line in lines or ()])
