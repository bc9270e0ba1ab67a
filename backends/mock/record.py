"""What happened to each request, as the mock saw it: the evidence that checkers compare with the gateway's own log.

Owns the record and its JSON line. Written once, when the request has ended; never changed afterwards.
"""

import asyncio
import hashlib
from collections import deque
from typing import IO, Literal

import msgspec

from backends.mock.fault import Fault

EVENT_TIMES = 10_000
"""Send times kept per record; a firehose has more events than anyone compares."""

CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie"})

ClosedBy = Literal["client", "server", "done"]


class Record(msgspec.Struct, kw_only=True):
    """One request. Times are seconds: `at` on the wall clock, all others on the server's monotonic clock."""

    id: int
    """Counts requests from 1, in order of arrival."""

    connection: int
    method: str
    path: str
    query: str = ""
    headers: list[tuple[str, str]] = []
    """As received; values of credentials are replaced by `sha256:` and 16 hex digits."""

    model: str | None = None
    tag: str | None = None
    """The body's own `tag`, by which a load driver finds its request again."""

    stream: bool = False
    fault: Fault | None = None
    sha256: str = ""
    """Of the body received (decoded from chunks)."""

    body_length: int = 0
    status: int = 0
    """0 when no response head was sent."""

    bytes_sent: int = 0
    """Response bytes handed to the socket, head and framing included."""

    sha256_sent: str = ""
    """Of the body or the events sent, framing and comments left out."""

    events_sent: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    tokens: int = 0
    """Generated tokens: those sent, or for an answer that is not streamed those generated until it ended."""

    charge: int = 0
    """Nano-units: the prompt from the moment it runs, each token as it is generated; nothing for refusals."""

    content: dict[int, str] = {}
    """Text sent per choice (streams only)."""

    closed_by: ClosedBy = "done"
    """Who ended it: "done" when the answer was complete."""

    at: float = 0.0
    started: float = 0.0
    """Head of the request read."""

    received: float | None = None
    """Body of the request read."""

    head_sent: float | None = None
    event_times: list[float] = []
    """When each event began to be written: never after a reader can have it."""

    ended: float = 0.0

    def note_event(self, now: float, tokens: int) -> None:
        """Counts one event that began to be written at `now`."""
        self.events_sent += 1
        self.tokens += tokens
        if len(self.event_times) < EVENT_TIMES:
            self.event_times.append(now)


class RecordBook:
    """Finished records: the newest `keep` in memory, all of them as JSON lines in `log`."""

    def __init__(self, keep: int, log: IO[bytes] | None) -> None:
        self.records: deque[Record] = deque(maxlen=keep)
        self._log = log
        self._total = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def add(self, record: Record) -> None:
        """Stores and logs a finished record."""
        self.records.append(record)
        self._total += 1
        if self._log is not None:
            self._log.write(msgspec.json.encode(record) + b"\n")
            self._log.flush()
        self._wake()

    def clear(self) -> None:
        """Forgets the records in memory; `wait` counts from here."""
        self.records.clear()
        self._total = 0

    async def wait(self, count: int) -> None:
        """Returns once `count` records were added since the start or the last `clear`."""
        if self._total >= count:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, future))
        await future

    def _wake(self) -> None:
        for count, future in self._waiting:
            if count <= self._total and not future.done():
                future.set_result(None)
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]


def mask_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers with credentials replaced by a fingerprint."""
    return [(name, fingerprint(value) if name in CREDENTIALS else value) for name, value in headers]


def fingerprint(secret: str) -> str:
    """Short hash by which a credential can be recognised and not recovered."""
    return "sha256:" + hashlib.sha256(secret.encode("latin-1")).hexdigest()[:16]
