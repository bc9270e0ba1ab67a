"""What an answer to a probe says about the server that gave it. Pure.

Owns the judgement of one answer. Does not own what follows from several (`condition`).
"""

from enum import StrEnum
from typing import Final

import msgspec

from backends.watch.fetch import Answer
from backends.watch.plan import Expect

#: A provider's list of all models is long; no answer to a probe is longer.
MOST_BYTES: Final = 4 << 20
_NO_SUCH_PATH: Final = frozenset((404, 405, 501))


class Verdict(StrEnum):
    """Of one answer."""

    GOOD = "good"
    BAD = "bad"
    REFUSED = "refused"  # our credentials: it says so itself, so there is nothing to wait for
    SILENT = "silent"  # it is there, and says nothing about its health


def judge(answer: Answer, expect: Expect, *, optional: bool) -> tuple[Verdict, str]:
    """The verdict, and the reason of one that is not good."""
    if answer.problem:
        return Verdict.BAD, answer.problem
    status = answer.status
    if status in (401, 403):
        return Verdict.REFUSED, f"it answers {status}: the endpoint's `api_key` is not accepted there"
    if status == 429:
        return Verdict.SILENT, "it answers 429: asked too often"
    if optional and status in _NO_SUCH_PATH:
        return Verdict.SILENT, f"it answers {status}: it has no such path, so its health is not known"
    if not 200 <= status < 300:
        return Verdict.BAD, f"it answers {status}"
    if expect == "json" and not is_json(answer.body):
        return Verdict.BAD, f"it answers {status} with something that is not a JSON object or array"
    return Verdict.GOOD, ""


def is_json(body: bytes) -> bool:
    """Whether that is a JSON object or array."""
    try:
        return isinstance(msgspec.json.decode(body), dict | list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
