"""J10: no 5xx but those the row allows; every error body is an error object of the contract.

Where the run says so, an error of any status needs a permit.

Pure functions of the history.
"""

from collections.abc import Iterator

import msgspec

from loadtest.checker.allowance import Allowance
from loadtest.checker.history import ClientLine, History, Violation


class InBandObject(msgspec.Struct):
    """The error of an in-band event."""

    message: str
    type: str
    code: str | None


class ErrorObject(InBandObject):
    """The error of an error response: all four keys."""

    param: str | None


class InBandBody(msgspec.Struct):
    error: InBandObject


class ErrorBody(msgspec.Struct):
    error: ErrorObject


def check(history: History) -> list[Violation]:
    """The violations of J10: statuses of the access log, then the client log."""
    return [*_access(history), *_clients(history)]


def _access(history: History) -> Iterator[Violation]:
    clients = {client.tag: client for client in history.clients}
    for line in history.access:
        if _is_forbidden(line.status, history.allowed(clients.get(line.label or ""))):
            yield Violation(f"access {line.id}", f"status {line.status} ({line.error})")


def _clients(history: History) -> Iterator[Violation]:
    for client in history.clients:
        allowed = history.allowed(client)
        if client.status is not None and _is_forbidden(client.status, allowed):
            yield Violation(f"client {client.tag}", f"status {client.status}")
        elif client.outcome == "error" and not _is_explained(client, allowed):
            reason = f"an error (status {client.status}) that no fault explains: {client.error}"
            yield Violation(f"client {client.tag}", reason)
        if client.outcome == "error" or client.error is not None:
            yield from (Violation(f"client {client.tag}", reason) for reason in faults_of_body(client))


def _is_forbidden(status: int, allowed: Allowance) -> bool:
    return status >= 500 and status not in allowed.statuses


def _is_explained(client: ClientLine, allowed: Allowance) -> bool:
    return allowed.errors or client.status in allowed.statuses or (allowed.breaks and client.status == 200)


def faults_of_body(client: ClientLine) -> Iterator[str]:
    """What is wrong with the error body of a client's answer."""
    in_band = client.status is not None and client.status < 400
    if not in_band and not client.content_type.startswith("application/json"):
        yield f"error of type {client.content_type or 'none'}"
    try:
        error = _decode(client.error or "", in_band)
    except msgspec.DecodeError as reason:
        yield f"error body: {reason}"
        return
    if not error.message or not error.type:
        yield "error body: empty message or type"
    if "Traceback (most recent call last)" in error.message:
        yield "error body: a stack trace"


def _decode(text: str, in_band: bool) -> InBandObject:
    if in_band:
        return msgspec.json.decode(text, type=InBandBody).error
    return msgspec.json.decode(text, type=ErrorBody).error
