"""What callers hear when more come than can be served: 503 `overloaded`, made before anybody comes.

Owns the bytes. Does not: decide who gets them (`_native.intake`), or record it. No state.
"""

from _native.intake import Refusal
from fastpath import errors
from fastpath.endpoints.paths import OPEN_PATHS, PATHS

#: Where the id of the request goes.
PLACE = "req_" + "0" * 32
#: Beginnings of requests that are served however many come: who asks how we are is to hear it.
ALWAYS_SERVED = tuple(f"GET {path} ".encode() for path in sorted(OPEN_PATHS))


def refusals(date: bytes) -> tuple[tuple[bytes, Refusal], ...]:
    """Answers by the beginning of a request, the last for all. date: the Date field, with its CR LF."""
    dialects = {
        f"{path.method} {path.template} ".encode(): path.dialect for path in PATHS if path.dialect == "messages"
    }
    return tuple((beginning, _refusal(dialect, date)) for beginning, dialect in [*dialects.items(), (b"", "other")])


def _refusal(dialect: str, date: bytes) -> Refusal:
    error = errors.overloaded("The gateway gets more requests than it can serve. Try again shortly.")
    body = errors.shape(error, dialect, PLACE)
    length = (b"content-length", b"%d" % len(body))
    fields = [errors.JSON_TYPE, (b"x-request-id", PLACE.encode()), *error.headers, (b"connection", b"close"), length]
    head = b"HTTP/1.1 503 Service Unavailable\r\n" + date + b"".join(b"%b: %b\r\n" % field for field in fields)
    return Refusal(head + b"\r\n" + body, PLACE.encode())
