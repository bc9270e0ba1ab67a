"""J1: debits are credits, cost is what the providers state to the nano-unit, the charge is what the policy says.

The statement is compared line by line after `fastpath reconcile`; what that found to differ is listed once, and
comparing again finds nothing. Pure functions of the history.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from loadtest.checker.accounts import Account, Accounts, Where
from loadtest.checker.history import AccessLine, History, Violation
from loadtest.checker.settled import ABANDONED

MENDED: Final = frozenset({"corrected", "unbilled", "missing"})
"""Verdicts after which the books say what the statement says."""
PAID: Final = frozenset({"complete", "client_left", "broken"})
"""Outcomes for which the tenant pays what was delivered (docs/reference/ledger.md)."""


def check(history: History) -> list[Violation]:
    """The violations of J1: of the books as a whole, of cost, of differences, of charge."""
    books = history.accounts
    if books is None:
        return []
    return [*_whole(books), *_costs(books), *_differences(books), *_charges(history, books)]


def _whole(books: Accounts) -> Iterator[Violation]:
    if books.debits != books.credits:
        yield Violation("books", f"debits are {books.debits}, credits {books.credits}")
    for finding in books.findings:
        yield Violation("books", finding)


def _costs(books: Accounts) -> Iterator[Violation]:
    stated: Counter[Where] = Counter()
    for line in books.stated:
        stated[line.request, line.attempt] += line.amount
    booked = {(one.request, attempt): cost for one in books.requests for attempt, cost in one.costs.items()}
    for where in sorted({*stated, *booked}):
        if stated[where] != booked.get(where, 0):
            reason = f"the provider states {stated[where]}, the books say {booked.get(where, 0)}"
            yield Violation(f"request {where[0]}/{where[1]}", reason)


def _differences(books: Accounts) -> Iterator[Violation]:
    listed = Counter((one.request, one.attempt) for one in books.differences if not one.again)
    for where, count in listed.items():
        if count > 1:
            yield Violation(f"request {where[0]}/{where[1]}", f"its difference is listed {count} times")
    for one in books.differences:
        name = f"request {one.request}/{one.attempt}"
        if one.again:
            yield Violation(name, f"differs when the same statement is compared again: {one.verdict}")
        elif one.verdict not in MENDED:
            yield Violation(name, f"could not be compared with its statement: {one.verdict}")


def _charges(history: History, books: Accounts) -> Iterator[Violation]:
    access = {line.id.removeprefix("req_"): line for line in history.access}
    for account in books.requests:
        charged, line = sum(account.charges.values()), access.get(account.request)
        name = f"request {account.request}"
        if charged < 0:
            yield Violation(name, f"is charged {charged}")
        elif account.reserved and charged > account.reserved:
            yield Violation(name, f"is charged {charged}, more than the {account.reserved} that were reserved")
        elif line is not None and account.outcome != ABANDONED and charged != (owed := _owed(account, line)):
            yield Violation(name, f"is charged {charged}, owes {owed} by its record ({line.outcome})")


def _owed(account: Account, line: AccessLine) -> int:
    """By the access log, which knows nothing of the ledger: what was delivered, at most what was reserved."""
    if line.outcome not in PAID or line.cost_nano is None:
        return 0
    return min(line.cost_nano, account.reserved) if account.reserved else line.cost_nano
