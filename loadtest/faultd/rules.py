"""The faults the proxy can inject, as data.

Owns the shape of a rule and which connections it hits. Does not touch sockets. Concurrency: every value is frozen.

A rule is a JSON object whose `fault` names its kind; unknown fields are refused. Offsets and counts are per connection,
from its first byte, never per request. When several rules hit one direction, latencies add up, the smallest slice and
the lowest bandwidth win, and the others act in this order: corrupt, duplicate, cut.
"""

import random
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Direction = Literal["up", "down"]
How = Literal["fin", "rst", "stall"]
Milliseconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Offset = Annotated[int, Meta(ge=0)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault"):
    """What every rule has: whom it hits."""

    connections: Annotated[
        tuple[Count, ...],
        Meta(description="Connections it hits, counted from 1 since the rules were set; empty: every one."),
    ] = ()
    probability: Annotated[
        float, Meta(ge=0, le=1, description="Chance in [0, 1], drawn once per connection from the seeded random.")
    ] = 1.0


class DirectedRule(Rule, frozen=True, kw_only=True):
    """A rule that acts on one direction of a connection."""

    direction: Annotated[
        Direction, Meta(description="`up`: client to target (requests). `down`: target to client (answers).")
    ] = "down"


class Latency(DirectedRule, frozen=True, kw_only=True, tag="latency"):
    """Every read is delivered later; order is kept, and throughput is not lowered (a delay line, 256 KiB deep)."""

    mean_ms: Annotated[Milliseconds, Meta(description="Mean delay, milliseconds.")]
    jitter_ms: Annotated[Milliseconds, Meta(description="Half width of the uniform spread, milliseconds.")] = 0.0


class Bandwidth(DirectedRule, frozen=True, kw_only=True, tag="bandwidth"):
    """Paces the direction, in pieces of at most 20 ms worth of bytes."""

    bytes_per_s: Annotated[Count, Meta(description="Rate, bytes per second.")]


class Slice(DirectedRule, frozen=True, kw_only=True, tag="slice"):
    """Cuts the bytes into pieces, each written alone under TCP_NODELAY, thus its own segment.

    With `delay_ms` 0 a reader that is late may still find several segments in one read.
    """

    size: Annotated[Count, Meta(description="Bytes per piece; the last piece of a read may be shorter.")]
    delay_ms: Annotated[Milliseconds, Meta(description="Pause after each piece, milliseconds.")] = 0.0


class Cut(DirectedRule, frozen=True, kw_only=True, tag="cut"):
    """Ends the connection at a place in the direction's bytes. Give exactly one of the three places."""

    after_bytes: Annotated[
        Offset | None, Meta(description="Cut once this many bytes went through; 0: at the first byte, forwarding none.")
    ] = None
    after_events: Annotated[
        Count | None,
        Meta(
            description="Cut right behind the k-th blank line (LF LF) of a `down` direction: k SSE events. Header"
            " fields end in CRLF CRLF and do not count; an event whose LF LF is split by a chunk head does not either."
        ),
    ] = None
    before_headers: Annotated[bool, Meta(description="Cut at the first byte of the direction, forwarding none.")] = (
        False
    )
    how: Annotated[
        How,
        Meta(
            description="`fin`: orderly close. `rst`: reset (SO_LINGER 0) to both sides. `stall`: forward no more in"
            " this direction, keep everything open until the receiver leaves."
        ),
    ] = "fin"

    def __post_init__(self) -> None:
        """Raises ValueError unless exactly one place is given and events are counted downwards."""
        if sum((self.after_bytes is not None, self.after_events is not None, self.before_headers)) != 1:
            raise ValueError("a cut takes exactly one of after_bytes, after_events, before_headers")
        if self.after_events is not None and self.direction == "up":
            raise ValueError("after_events counts in the down direction only")


class Corrupt(DirectedRule, frozen=True, kw_only=True, tag="corrupt"):
    """Overwrites one byte."""

    offset: Annotated[Offset, Meta(description="Position in the bytes the sender sent, from 0.")]
    byte: Annotated[int, Meta(ge=0, le=255, description="Value written there.")]


class Duplicate(DirectedRule, frozen=True, kw_only=True, tag="duplicate"):
    """Sends a range of bytes twice, the copy right behind the range."""

    offset: Annotated[Offset, Meta(description="First byte of the range in what the sender sent, from 0.")]
    length: Annotated[int, Meta(ge=1, le=65536, description="Length of the range, bytes.")]


class SlowClose(DirectedRule, frozen=True, kw_only=True, tag="slow_close"):
    """Withholds the sender's FIN from the receiver."""

    delay_ms: Annotated[Milliseconds, Meta(description="How long the FIN is held back, milliseconds.")]


class ResetOnAccept(Rule, frozen=True, kw_only=True, tag="reset_on_accept"):
    """Accepts, then resets at once; the target sees nothing."""


class Refuse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="fault", tag="refuse"):
    """Closes the listener while the rule is set: callers get ECONNREFUSED. Open connections go on."""


FlowRule = Latency | Bandwidth | Slice | Cut | Corrupt | Duplicate | SlowClose
AnyRule = FlowRule | ResetOnAccept | Refuse


class RuleSet:
    """The rules in force since one moment, with their own random and connection count."""

    __slots__ = ("_count", "random", "rules")

    def __init__(self, rules: Sequence[AnyRule] = (), seed: int = 0) -> None:
        self.rules = tuple(rules)
        self.random = random.Random(seed)
        self._count = 0

    @property
    def refusing(self) -> bool:
        return any(isinstance(rule, Refuse) for rule in self.rules)

    def select(self) -> tuple[FlowRule | ResetOnAccept, ...]:
        """The rules that hit the next connection. Draws for each rule, so one rule's odds never move another's."""
        self._count += 1
        draws = [(rule, self.random.random()) for rule in self.rules if not isinstance(rule, Refuse)]
        return tuple(rule for rule, draw in draws if self._hits(rule, draw))

    def _hits(self, rule: Rule, draw: float) -> bool:
        return (not rule.connections or self._count in rule.connections) and draw < rule.probability
