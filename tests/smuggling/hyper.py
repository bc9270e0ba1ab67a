"""What hyper, the HTTP library inside Granian, decides for itself before the granian door sees a request.

The native door refuses each of these shapes. hyper serves them, or answers otherwise, and nothing behind it can tell
any more. Each line says what it does. None smuggles: what stands behind the request is at a boundary that hyper and the
model server agree on, or it is not served at all. A proxy in front that reads such bytes differently is the one who
could be deceived; behind such a proxy, use `listen.door: native`.
"""

import dataclasses
from dataclasses import dataclass

from tests.smuggling.cases import CANARY, FIRST, SECOND, Case

TEXT = b"second in line"


@dataclass(frozen=True)
class Decision:
    """why: the reason; statuses, bodies, also: as in Case. With SECOND in bodies, what stands behind is a request."""

    why: str
    statuses: tuple[int, ...]
    bodies: tuple[bytes, ...] = ()
    also: tuple[tuple[int, ...], ...] = ()


def both(why: str) -> Decision:
    """Serves it, and what stands behind it."""
    return Decision(why, (200, 200), (FIRST, SECOND))


CHUNKS_WIN = Decision("chunks win over a length; the answer ends the connection (RFC 9112, 6.3)", (200,), (FIRST,))
LAST_CODING = both("the last transfer coding must be chunked, the ones before are not looked at")
BARE_LF = both("a bare LF ends a line of the head (RFC 9112, 2.2)")
SAME_LENGTH = both("the same Content-Length twice is one (RFC 9112, 6.3)")
CHUNK_LINE = both("spaces behind a chunk size, and any bytes of an extension but CR and LF, are skipped")
HOST = both("Host is not looked at; here it decides nothing and is not passed on")
TARGET = both("of an absolute target only the path counts; the fragment is cut off")
NO_TARGET = Decision("a target without a path is one that does not exist", (404, 200), (SECOND,))
EMPTY_LINES = both("empty lines before a request are skipped (RFC 9112, 2.2)")

DECISIONS = {
    "coding-cl-te": CHUNKS_WIN,
    "coding-te-cl": CHUNKS_WIN,
    "coding-behind-a-bare-lf": CHUNKS_WIN,
    "coding-twice": LAST_CODING,
    "coding-list-chunked-chunked": LAST_CODING,
    "coding-list-identity-chunked": LAST_CODING,
    "coding-list-gzip-chunked": LAST_CODING,
    "cl-twice-same": SAME_LENGTH,
    "cl-overflow-63": Decision("a length may have 64 bits; it is over the limit then", (413,)),
    "chunk-trailing-space": CHUNK_LINE,
    "chunk-extension-open-quote": CHUNK_LINE,
    "chunk-extension-empty": CHUNK_LINE,
    "trailer-bare-lf": Decision("the body is whole before the trailers", (200, 400), (FIRST,), ((400,), (200,))),
    "head-bare-lf": BARE_LF,
    "head-all-bare-lf": BARE_LF,
    "head-ends-lf-crlf": BARE_LF,
    "line-http2-preface": Decision("the HTTP/2 preface ends the connection without a word", ()),
    "line-target-fragment": TARGET,
    "line-absolute-other-host": TARGET,
    "line-absolute-user": TARGET,
    "line-absolute-other-port": TARGET,
    "line-absolute-scheme": TARGET,
    "line-target-authority": NO_TARGET,
    "line-target-star": NO_TARGET,
    "connect": NO_TARGET,
    "host-none": HOST,
    "host-twice": HOST,
    "host-twice-other": HOST,
    "line-empty-first": EMPTY_LINES,
    "line-empty-between": EMPTY_LINES,
}

#: llhttp's vectors that hyper reads to their end all the same, so that the next request may follow.
HYPERS = {
    "llhttp-request-invalid-59": "a bare LF ends a line of the head",
    "llhttp-request-transfer-encoding-132": "an empty chunk extension is skipped",
    "llhttp-request-transfer-encoding-153": "a space behind a chunk size is skipped",
    "llhttp-request-transfer-encoding-154": "a space behind a chunk size is skipped",
    "llhttp-request-uri-161": "a target may have UTF-8 in it, and its fragment is cut off",
    "llhttp-request-uri-157": "empty lines before a request are skipped",
}


def as_hyper_does(case: Case) -> Case:
    """The case as the granian door answers it."""
    made = DECISIONS.get(case.id)
    if made is None:
        return case
    raw = case.raw.replace(CANARY, TEXT) if SECOND in made.bodies and SECOND not in case.bodies else case.raw
    return dataclasses.replace(case, raw=raw, statuses=made.statuses, bodies=made.bodies, also=made.also)
