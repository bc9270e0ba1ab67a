"""A scorer in one file: of two endpoints that are equally good, the one with less to do.

Registered as an entry point `idle = "idle_scorer:score"` in the group `fastpath.scorers` (docs/reference/routing.md).
"""

from collections.abc import Sequence

from fastpath.testing import Candidate, Request


def score(request: Request, candidates: Sequence[Candidate]) -> list[float]:
    """1 for an endpoint at which nothing of this worker runs, 1/2 with one attempt, 1/3 with two."""
    return [1 / (1 + candidate.in_flight) for candidate in candidates]
