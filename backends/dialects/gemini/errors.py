"""Google's errors in OpenAI's words. Pure; any bytes make one.

Google says with 400 what concerns the endpoint's key or account, not the request: such an answer gets the status that
sends the request elsewhere, since its caller can do nothing about it.
"""

import msgspec

from backends.dialects.refusals import refusal

_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "FAILED_PRECONDITION": 403,  # billing, region
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TOO_LONG = ("exceeds the maximum number of tokens", "input token count")


class Detail(msgspec.Struct):
    reason: str | None = None


class Status(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[Detail] | None = None


class Trouble(msgspec.Struct):
    error: Status


_TROUBLE = msgspec.json.Decoder(Trouble | list[Trouble])


def retell(status: int, body: bytes) -> tuple[int, bytes]:
    """Status and body of a refusal. status: of the answer."""
    found = _read(body)
    status = _STATUSES.get(found.status or "", status) if status == 400 or status < 400 else status
    if any(detail.reason in ("API_KEY_INVALID", "API_KEY_EXPIRED") for detail in found.details or ()):
        status = 401
    message = found.message or ""
    too_long = status == 400 and any(mark in message for mark in _TOO_LONG)
    return status, refusal(status, message, "context_length_exceeded" if too_long else None)


def retell_in_stream(body: bytes) -> bytes:
    """The body of an error that is an event of a stream."""
    code = _read(body).code or 500
    return retell(code if 400 <= code < 600 else 500, body)[1]


def _read(body: bytes) -> Status:
    try:
        found = _TROUBLE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Status()
    first: Trouble | None = found if isinstance(found, Trouble) else found[0] if found else None
    return first.error if first is not None else Status()
