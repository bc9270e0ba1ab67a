"""The history of one run: every log, decoded, and the links between their lines.

Owns the shapes of the lines the checker reads and how a line of one log is found from a line of another. Does not
judge. Concurrency: loaded once, read only.

Links: the driver sends a unique tag per request as `x-request-id` (the gateway's `label`) and as the body field `tag`
(the mock's `tag`). A mock line without a tag is linked by the SHA-256 of its body, where the gateway sends it
unchanged. Fields not named here are ignored.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from loadtest.checker.accounts import Accounts
from loadtest.checker.allowance import Allowance
from loadtest.faultd.record import ConnectionRecord

Outcome = Literal["complete", "error", "cut", "cancelled", "unreachable", "timeout"]
Phase = Literal["sent", "waiting", "streaming", "buffered"]
Line = TypeVar("Line")


class ClientLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request as the load driver saw it. Times: wall clock, seconds. Digests: SHA-256 in hex."""

    tag: str
    stream: bool
    started: float
    ended: float
    outcome: Outcome
    """`complete`: a full 2xx (streams: `[DONE]` too). `error`: a full error answer or an in-band error. `cut`: the
    connection ended before either. `cancelled`: by the driver. `unreachable`: no connection. `timeout`: the driver lost
    patience."""
    phase: Phase | None = None
    """When the driver cancelled: right after sending, before the first event, mid-stream, in a non-streamed wait."""
    status: int | None = None
    """None when no response head came."""
    id: str | None = None
    """The response's x-request-id."""
    content_type: str = ""
    body_sha256: str = ""
    """Of the request body."""
    content: dict[int, str] = {}
    """Text received per choice (streams only)."""
    content_sha256: str = ""
    """Of the response body's bytes; in streams of its whole events, without comments and in-band errors."""
    content_bytes: int = 0
    events: int = 0
    """Whole events, comments and in-band errors left out."""
    terminal: bool = False
    """Whether the terminal event (`[DONE]` or an in-band error) was seen."""
    after_terminal: int = 0
    """Bytes of the body or of the connection behind the answer's end."""
    error: str | None = None
    """The error body, or the data of the in-band error event."""


class AccessLine(msgspec.Struct, kw_only=True):
    """One request in the gateway's access log."""

    id: str
    label: str | None = None
    method: str = ""
    path: str = ""
    status: int = 0
    stream: bool = False
    attempts: int = 0
    outcome: str = ""
    error: str | None = None
    cost_nano: int | None = None
    """What it cost by the price of its model; None where nothing is known of its usage."""


class MockLine(msgspec.Struct, kw_only=True):
    """One upstream attempt in the mock's log."""

    id: int
    method: str = "POST"
    path: str = ""
    tag: str | None = None
    sha256: str = ""
    """Of the body received."""
    received: float | None = None
    """When the body was complete, seconds; None: it never was, so that nothing links it."""
    status: int = 0
    stream: bool = False
    content: dict[int, str] = {}
    """Text sent per choice (streams only)."""
    sha256_sent: str = ""
    """Of the response body before transfer coding; empty where the mock does not say."""
    events_sent: int = 0
    closed_by: str = ""


class Sample(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One process at one moment. `at`: seconds on any one clock. A gauge is None where it was not measured."""

    process: str
    at: float
    fds: int | None = None
    tasks: int | None = None
    """asyncio tasks where the process tells, else its threads; the same in both files."""
    connections: int | None = None
    """TCP sockets that are not listening."""
    rss: int | None = None
    """Resident set, bytes."""


class History(msgspec.Struct, kw_only=True):
    """All lines of a run."""

    clients: list[ClientLine] = []
    access: list[AccessLine] = []
    mock: list[MockLine] = []
    proxy: list[ConnectionRecord] = []
    before: list[Sample] = []
    after: list[Sample] = []
    accounts: Accounts | None = None
    allowance: Allowance = Allowance()

    def allowed(self, client: ClientLine | None) -> Allowance:
        """What the run permits to a request; None: to one that no client line tells of."""
        return self.allowance if client is None else self.allowance.at(client.started, client.ended)

    def access_by_label(self) -> dict[str, list[AccessLine]]:
        """Access lines by their request's tag: by their label, or, of those that were refused before a label was read,
        by the id that the caller was told."""
        told = {client.id: client.tag for client in self.clients if client.id is not None}
        found: dict[str, list[AccessLine]] = defaultdict(list)
        for line in self.access:
            tag = line.label if line.label is not None else told.get(line.id)
            if tag is not None:
                found[tag].append(line)
        return found

    def attempts_by_tag(self) -> dict[str, list[MockLine]]:
        """The mock's lines by the tag of their request; those that match none are under the empty tag."""
        tags = {line.body_sha256: line.tag for line in self.clients if line.body_sha256}
        found: dict[str, list[MockLine]] = defaultdict(list)
        for line in self.mock:
            found[line.tag or tags.get(line.sha256, "")].append(line)
        return found


class Violation(msgspec.Struct, frozen=True):
    """One broken promise: which record shows it, and what is wrong with it."""

    record: str
    reason: str


def read_lines(path: Path | None, shape: type[Line]) -> list[Line]:
    """Decodes a file of JSON lines (None: no lines). Raises OSError, msgspec.DecodeError with the place."""
    if path is None:
        return []
    decoder = msgspec.json.Decoder(shape)
    return list(_decode(path, decoder))


def _decode(path: Path, decoder: msgspec.json.Decoder[Line]) -> Iterable[Line]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise msgspec.DecodeError(f"{path.name}:{number}: {error}") from error
