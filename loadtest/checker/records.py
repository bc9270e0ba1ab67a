"""J2: each client request has exactly one terminal record; each upstream attempt belongs to one request.

Where the gateway must send bodies unchanged, each attempt's body is the client's. Pure functions of the history.
"""

from collections import Counter
from collections.abc import Iterator

from loadtest.checker import settled
from loadtest.checker.allowance import Allowance
from loadtest.checker.history import AccessLine, ClientLine, History, MockLine, Violation

UNDECIDED = frozenset({"", "open"})
"""Outcomes of a record whose request has not ended."""


def check(history: History) -> list[Violation]:
    """The violations of J2, in the order of the logs."""
    return [
        *_duplicates(history),
        *_strangers(history),
        *_terminal_records(history),
        *_attempts(history),
        *settled.check(history),
    ]


def _duplicates(history: History) -> Iterator[Violation]:
    for name, keys in (
        ("client tag", Counter(line.tag for line in history.clients)),
        ("access id", Counter(line.id for line in history.access)),
    ):
        for key, count in keys.items():
            if count > 1:
                yield Violation(f"{name} {key}", f"{count} records")


def _strangers(history: History) -> Iterator[Violation]:
    tags = {line.tag for line in history.clients}
    for line in history.access:
        if line.label is not None and line.label not in tags:
            yield Violation(f"access {line.id}", f"label {line.label} belongs to no client request")
        if line.outcome in UNDECIDED:
            yield Violation(f"access {line.id}", f"no terminal outcome: {line.outcome or 'none'}")


def _terminal_records(history: History) -> Iterator[Violation]:
    access = history.access_by_label()
    for client in history.clients:
        lines = access.get(client.tag, [])
        if len(lines) > 1 or (not lines and not may_be_unseen(client, history.allowed(client))):
            yield Violation(f"client {client.tag}", f"{len(lines)} access records, expected 1")
        elif lines and client.outcome in ("complete", "error") and client.status != lines[0].status:
            reason = f"the client got status {client.status}, the access record says {lines[0].status}"
            yield Violation(f"client {client.tag}", reason)
        elif lines and client.outcome == "complete" and lines[0].outcome != "complete":
            reason = f"the client got a complete answer, the access record says {lines[0].outcome}"
            yield Violation(f"client {client.tag}", reason)


def may_be_unseen(client: ClientLine, allowed: Allowance) -> bool:
    """Whether the gateway need not know of it: it never came, or its sender left unanswered, maybe before it was read.

    Or a fault cut the way to the gateway, or took the record with it.

    Of 10,000 requests on two busy cores, 8 were left 1 to 9 ms after sending and never read. One that went upstream
    without a record is found all the same: by its attempt, which then belongs to no request.
    """
    if allowed.unrecorded or client.outcome == "unreachable":
        return True
    may_be_cut = client.outcome == "cut" and (allowed.cuts or allowed.hangups)
    return client.status is None and (client.outcome == "cancelled" or may_be_cut)


def _attempts(history: History) -> Iterator[Violation]:
    access, clients = history.access_by_label(), {line.tag: line for line in history.clients}
    for tag, attempts in history.attempts_by_tag().items():
        yield from _count(tag, attempts, access.get(tag, []), history.allowed(clients.get(tag)))
        if tag in clients and not history.allowance.patched_bodies:
            yield from _bodies(clients[tag], attempts)


def _count(tag: str, attempts: list[MockLine], access: list[AccessLine], allowed: Allowance) -> Iterator[Violation]:
    if not access and allowed.unrecorded:
        return
    if not access:
        yield from (
            Violation(f"mock {line.id}", f"attempt (tag {tag or 'none'}) belongs to no request")
            for line in attempts
            if line.tag or (line.method == "POST" and line.received is not None)
        )
    elif len(attempts) > access[0].attempts * (2 if allowed.resends else 1):
        reason = f"{access[0].attempts} attempts recorded, the mock saw {len(attempts)}"
        yield Violation(f"access {access[0].id}", reason)


def _bodies(client: ClientLine, attempts: list[MockLine]) -> Iterator[Violation]:
    for line in attempts:
        if line.received is not None and client.body_sha256 and line.sha256 != client.body_sha256:
            yield Violation(f"mock {line.id}", f"body differs from that of client {client.tag}")
