"""The offline checker: evaluates the invariants J1-J10 of a run over its logs.

Owns which invariants there are. Those not listed yet (J4-J6) join with the grades, the tenants' canaries and the audit
chain they speak of: one module with `check(history) -> list[Violation]`, one line here.
"""

from collections.abc import Callable
from typing import NamedTuple

from loadtest.checker import baseline, conservation, errors, rates, records, reservations, responses
from loadtest.checker.history import History, Violation


class Invariant(NamedTuple):
    """A promise and the function that finds who broke it."""

    name: str
    title: str
    check: Callable[[History], list[Violation]]
    needs: tuple[frozenset[str], ...]
    """The sets of logs (client, gateway, mock, proxy, baseline, accounts) any one of which is enough to judge."""


def _logs(*names: str) -> frozenset[str]:
    return frozenset(names)


INVARIANTS = (
    Invariant(
        "J1",
        "debits are credits, cost is what was stated, the charge by policy",
        conservation.check,
        (_logs("accounts"),),
    ),
    Invariant(
        "J2", "one terminal record per request, one request per attempt", records.check, (_logs("client", "gateway"),)
    ),
    Invariant("J3", "nothing is reserved or held at rest", reservations.check, (_logs("accounts"),)),
    Invariant(
        "J7", "every request answered, nothing after the end, content unchanged", responses.check, (_logs("client"),)
    ),
    Invariant(
        "J8",
        "descriptors, tasks, connections, memory back at the baseline",
        baseline.check,
        (_logs("proxy"), _logs("baseline")),
    ),
    Invariant("J9", "no more is admitted than the limits allow", rates.check, (_logs("accounts"),)),
    Invariant(
        "J10", "no unexpected 5xx, every error body well-formed", errors.check, (_logs("client"), _logs("gateway"))
    ),
)

__all__ = ["INVARIANTS", "History", "Invariant", "Violation"]
