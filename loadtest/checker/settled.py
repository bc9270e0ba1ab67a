"""J2 in the books: each request is over once, one attempt of it is charged at most, and nothing was sent unrecorded.

Pure functions of the history; a part of `records`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from loadtest.checker.accounts import Account, Accounts
from loadtest.checker.history import History, Violation

ABANDONED: Final = "abandoned"
LONGEST: Final = 60.0
"""Seconds: within so long of its admission a fault may have taken a request's access record along."""


def check(history: History) -> list[Violation]:
    """The violations of J2 that the books show; none where there are no books."""
    books = history.accounts
    if books is None:
        return []
    return [*_accounts(books), *_sent(books), *_answered(history, books), *_logged(history, books)]


def _accounts(books: Accounts) -> Iterator[Violation]:
    for request, count in Counter(one.request for one in books.requests).items():
        if count > 1:
            yield Violation(f"request {request}", f"is in the books {count} times")
    for one in books.requests:
        if not one.over:
            yield Violation(f"request {one.request}", "has no terminal record in the books")
        paid = sorted(attempt for attempt, charge in one.charges.items() if charge)
        if len(paid) > 1:
            yield Violation(f"request {one.request}", f"attempts {paid} are charged, one may be")


def _sent(books: Accounts) -> Iterator[Violation]:
    known = {one.request: one.attempts for one in books.requests}
    for line in books.stated:
        if line.attempt > known.get(line.request, 0):
            reason = "a provider was asked, and the books do not know of it"
            yield Violation(f"request {line.request}/{line.attempt}", reason)


def _answered(history: History, books: Accounts) -> Iterator[Violation]:
    """A caller that has a whole answer was recorded before its last byte was sent, whatever died afterwards."""
    outcomes = {one.request: one.outcome for one in books.requests}
    for client in history.clients:
        if client.outcome == "complete" and client.id is not None:
            found = outcomes.get(client.id.removeprefix("req_"))
            if found != "complete":
                yield Violation(f"client {client.tag}", f"got a complete answer, the books say {found or 'nothing'}")


def _logged(history: History, books: Accounts) -> Iterator[Violation]:
    access = {line.id.removeprefix("req_"): line for line in history.access}
    accounts = {one.request: one for one in books.requests}
    for request, line in access.items():
        account = accounts.get(request)
        if line.attempts and account is None:
            yield Violation(f"access {line.id}", f"{line.attempts} attempts, and the books do not know of it")
        elif line.attempts and account is not None and account.outcome != line.outcome:
            reason = f"its record says {line.outcome}, the books say {account.outcome}"
            yield Violation(f"access {line.id}", reason)
    for account in books.requests:
        died = account.outcome == ABANDONED  # and with it its worker, before it could log anything
        if account.request not in access and not died and not _may_be_lost(history, account):
            yield Violation(f"request {account.request}", "is in the books and in no access log")


def _may_be_lost(history: History, account: Account) -> bool:
    return history.allowance.at(account.admitted, account.admitted + LONGEST).unrecorded
