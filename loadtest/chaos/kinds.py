"""The kinds of fault, and what each permits a caller to see.

Owns the table: everything that says what chaos may cost is in this file. Does not carry anything out.

Whatever is not permitted here is a violation: a cut answer, an in-band error, a status of 400 or more, a lost record.
A request that met faults of both model servers may get 502, 503 or 504; no other gets a 5xx.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from loadtest.checker.allowance import Permit

Lane = Literal["worker", "upstream", "client", "settings"]
LANES: tuple[Lane, ...] = ("worker", "upstream", "client", "settings")
"""One fault at a time per lane; lanes overlap."""
SLACK_S = 0.4
"""How long after its end a fault may still show: bytes on their way, and a machine that is late."""
FLUSH_S = 0.5
"""What is killed takes the records of that long with it. Workers write them every 0.1 s, later when the loop is late; a
model server writes one when it sees that its caller has left, which is a moment after the caller did."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault. The booleans are those of a Permit."""

    name: str
    lane: Lane
    does: str
    shows: str
    """What a caller may see of it, in words."""
    cuts: bool = False
    hangups: bool = False
    breaks: bool = False
    unrecorded: bool = False
    unlogged: bool = False

    def permits(self, begin: float, end: float, upstream: str) -> tuple[Permit, ...]:
        """What it permits when it acted from `begin` to `end` (wall clock, seconds): what is seen, what is lost."""
        seen = Permit(
            begin=begin,
            end=end + SLACK_S,
            cuts=self.cuts,
            hangups=self.hangups,
            breaks=self.breaks,
            resends=self.breaks,
            upstream=upstream if self.breaks else "",
        )
        lost = Permit(begin=begin - FLUSH_S, end=end + SLACK_S, unrecorded=self.unrecorded, unlogged=self.unlogged)
        return (
            *([seen] if self.cuts or self.hangups or self.breaks else ()),
            *([lost] if self.unrecorded or self.unlogged else ()),
        )


NOTHING = "nothing, but time"
TABLE = (
    Kind(
        name="worker-kill",
        lane="worker",
        does="kill -9 of a worker",
        shows="its connections break; no 5xx",
        cuts=True,
        unrecorded=True,
    ),
    Kind(
        name="worker-term",
        lane="worker",
        does="SIGTERM of a worker, which drains and is replaced",
        shows="an idle connection ends as a request is sent; no answer breaks, no 5xx",
        hangups=True,
    ),
    Kind(name="worker-pause", lane="worker", does="SIGSTOP and SIGCONT of a worker", shows=NOTHING),
    Kind(
        name="mock-kill",
        lane="upstream",
        does="kill -9 of a model server, later its restart",
        shows="in-band errors in streams that had begun; 502 to 504 if the other is away too",
        breaks=True,
        unlogged=True,
    ),
    Kind(
        name="mock-term",
        lane="upstream",
        does="SIGTERM of a model server, later its restart",
        shows="as mock-kill",
        breaks=True,
    ),
    Kind(name="mock-pause", lane="upstream", does="SIGSTOP and SIGCONT of a model server", shows=NOTHING),
    Kind(name="upstream-latency", lane="upstream", does="answers of a model server come late", shows=NOTHING),
    Kind(name="upstream-slice", lane="upstream", does="answers come in pieces of a few bytes", shows=NOTHING),
    Kind(
        name="upstream-cut",
        lane="upstream",
        does="connections to a model server end inside an answer, by FIN or RST",
        shows="as mock-kill",
        breaks=True,
    ),
    Kind(
        name="upstream-reset",
        lane="upstream",
        does="connections to a model server are reset as they open",
        shows="as mock-kill",
        breaks=True,
    ),
    Kind(
        name="upstream-refuse",
        lane="upstream",
        does="a model server refuses connections, and those it has break",
        shows="as mock-kill",
        breaks=True,
    ),
    Kind(name="client-latency", lane="client", does="answers come late to callers", shows=NOTHING),
    Kind(name="client-slice", lane="client", does="requests come in pieces of a few bytes", shows=NOTHING),
    Kind(
        name="client-cut",
        lane="client",
        does="callers' connections end inside an answer, by FIN or RST",
        shows="cut answers; no 5xx",
        cuts=True,
    ),
    Kind(
        name="client-reset",
        lane="client",
        does="callers' connections are reset as they open",
        shows="cut requests; no 5xx",
        cuts=True,
    ),
    Kind(name="reload", lane="settings", does="new settings and SIGHUP", shows=NOTHING),
    Kind(name="bad-reload", lane="settings", does="broken settings and SIGHUP", shows=NOTHING),
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in TABLE})
