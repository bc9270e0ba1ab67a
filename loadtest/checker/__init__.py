"""The offline checker: evaluates the invariants J1-J10 of a run over its logs.

Owns which invariants there are. Those not listed yet (J1, J3-J6, J9) join with the ledger, the audit chain and the
limits they speak of: one module with `check(history) -> list[Violation]`, one line here.
"""

from collections.abc import Callable
from typing import NamedTuple

from loadtest.checker import baseline, errors, records, responses
from loadtest.checker.history import History, Violation


class Invariant(NamedTuple):
    """A promise and the function that finds who broke it."""

    name: str
    title: str
    check: Callable[[History], list[Violation]]
    needs: tuple[frozenset[str], ...]
    """The sets of logs (client, gateway, mock, proxy, baseline) any one of which is enough to judge."""


def _logs(*names: str) -> frozenset[str]:
    return frozenset(names)


INVARIANTS = (
    Invariant(
        "J2", "one terminal record per request, one request per attempt", records.check, (_logs("client", "gateway"),)
    ),
    Invariant(
        "J7", "every request answered, nothing after the end, content unchanged", responses.check, (_logs("client"),)
    ),
    Invariant(
        "J8",
        "descriptors, tasks, connections, memory back at the baseline",
        baseline.check,
        (_logs("proxy"), _logs("baseline")),
    ),
    Invariant(
        "J10", "no unexpected 5xx, every error body well-formed", errors.check, (_logs("client"), _logs("gateway"))
    ),
)

__all__ = ["INVARIANTS", "History", "Invariant", "Violation"]
