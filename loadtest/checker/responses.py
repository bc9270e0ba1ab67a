"""J7: no request without a response, nothing after a terminal event, content is a prefix of what the mock sent.

A complete answer is equal to what one attempt sent, not only a prefix. Pure functions of the history.
"""

from collections.abc import Iterator

from loadtest.checker.allowance import Allowance
from loadtest.checker.history import ClientLine, History, MockLine, Violation


def check(history: History) -> list[Violation]:
    """The violations of J7, in the order of the client log."""
    attempts = history.attempts_by_tag()
    reasons = (
        (client, reason)
        for client in history.clients
        for reason in (
            *_response(client, history.allowed(client)),
            *(_content(client, attempts.get(client.tag, [])) if _is_known(client, history) else ()),
        )
    )
    return [Violation(f"client {client.tag}", reason) for client, reason in reasons]


def _is_known(client: ClientLine, history: History) -> bool:
    """Whether all that was sent for a request is in the logs."""
    return bool(history.mock) and not history.allowed(client).unlogged


def _response(client: ClientLine, allowed: Allowance) -> Iterator[str]:
    if client.outcome == "timeout":
        yield f"no end of the response within {client.ended - client.started:.1f} s"
    if client.outcome == "unreachable" and not (allowed.cuts or allowed.hangups):
        yield "no connection"
    if client.outcome == "cut" and not (allowed.cuts or (allowed.hangups and client.status is None)):
        yield "no response" if client.status is None else f"the {_kind(client)} ended without its end"
    if client.outcome == "complete" and client.stream and not client.terminal:
        yield "the stream is complete without a terminal event"
    if client.after_terminal:
        yield f"{client.after_terminal} bytes after the end"


def _kind(client: ClientLine) -> str:
    return "stream" if client.stream else "response"


def _content(client: ClientLine, attempts: list[MockLine]) -> Iterator[str]:
    if client.outcome == "complete" and not attempts:
        yield "a complete answer that no upstream sent"
    elif client.content and not any(_is_prefix(client.content, line.content) for line in attempts):
        yield "content is no prefix of what an upstream sent"
    elif client.outcome == "complete" and not any(_is_whole(client, line) for line in attempts):
        yield "a complete answer differs from what the upstream sent"


def _is_prefix(part: dict[int, str], whole: dict[int, str]) -> bool:
    return all(whole.get(choice, "").startswith(text) for choice, text in part.items())


def _is_whole(client: ClientLine, line: MockLine) -> bool:
    same_bytes = not line.sha256_sent or line.sha256_sent == client.content_sha256
    return same_bytes and (not client.stream or client.content == line.content)
