"""Headers that tell a caller how much of its own limits is left, on every answer of 200 and 429.

Owns their names and forms: OpenAI's `x-ratelimit-*` (Go durations), and Anthropic's (RFC 3339) on its dialect. Of
several limits of one kind the one with the fewest left is told; limits that all callers share are not. Names and
amounts that do not change are built once and shared by all plans that are alike: with headers of its own for each of
1,000 keys a request waited for them to come from memory.
"""

from datetime import UTC, datetime
from math import ceil

from _native.limiter import Limiter
from _native.rates import decimal_text
from fastpath.errors import Header
from fastpath.limits.plan import INPUT, OUTPUT, REQUESTS, SECOND, TOKENS, Plan

_NAMES = {REQUESTS: b"requests", TOKENS: b"tokens", INPUT: b"input-tokens", OUTPUT: b"output-tokens"}
_DAY = 86_400

NEVER = -1.0
#: More than any limit has left: one that is a share of a capacity which nobody measured yet.
UNBOUNDED = 10**16


class Meter:
    """One kind of limit of a plan: the header of each rate's amount (None: none), and the names of the other two."""

    def __init__(self, family: int, limits: tuple[Header | None, ...], remaining: bytes, reset: bytes) -> None:
        self.family = family
        self.limits = limits
        self.remaining = remaining
        self.reset = reset


def kinds_of(plan: Plan) -> tuple[int, ...]:
    """The kinds of limits that a plan has something to tell about."""
    return tuple([family for family in _NAMES if plan.limiter.tightest(0, family) is not None])


def likeness_of(plan: Plan) -> tuple[object, ...]:
    """Equal for plans whose meters are."""
    return kinds_of(plan), *[bound.limit.most for bound in plan.rates]


class Meters:
    """The meters of one plan, and of all that are like it."""

    def __init__(self, plan: Plan) -> None:
        told = kinds_of(plan)
        self._messages = [_meter(plan, family, b"anthropic-ratelimit-%b-%b", _NAMES[family]) for family in told]
        # OpenAI has one kind of tokens: the input's stands for it where there is no limit of both together.
        tokens = [family for family in (TOKENS, INPUT, OUTPUT) if family in told][:1]
        families = [family for family in told if family == REQUESTS] + tokens
        names = [b"requests" if family == REQUESTS else b"tokens" for family in families]
        self._openai = [
            _meter(plan, family, b"x-ratelimit-%b-%b", name) for family, name in zip(families, names, strict=True)
        ]
        self._day = -1
        self._date = b""

    def headers(self, limiter: Limiter, now: float) -> list[Header]:
        """OpenAI's names. limiter: the plan's; now: monotonic seconds."""
        return self._told(self._openai, limiter, now, NEVER)

    def messages_headers(self, limiter: Limiter, now: float, wall: float) -> list[Header]:
        """Anthropic's names. limiter: the plan's; now: monotonic seconds; wall: Unix seconds."""
        return self._told(self._messages, limiter, now, wall)

    def _told(self, meters: list[Meter], limiter: Limiter, now: float, wall: float) -> list[Header]:
        """wall: NEVER where the vendor says durations and not dates."""
        found: list[Header] = []
        moment = int(now * SECOND)
        for meter in meters:
            place, left, wait = limiter.nearest(moment, meter.family)
            if place < 0 or left >= UNBOUNDED:
                continue
            limit = meter.limits[place]
            if limit is not None:
                found.append(limit)
            found.append((meter.remaining, decimal_text(left)))
            found.append((meter.reset, go_duration(wait) if wall < 0 else self._rfc3339(wall + wait / SECOND)))
        return found

    def _rfc3339(self, wall: float) -> bytes:
        day, second = divmod(ceil(wall), _DAY)
        if day != self._day:
            self._day = day
            self._date = datetime.fromtimestamp(day * _DAY, UTC).strftime("%Y-%m-%dT").encode()
        return b"%b%02d:%02d:%02dZ" % (self._date, second // 3600, second // 60 % 60, second % 60)


_SHORT = (b"0s", *(b"%dms" % milliseconds for milliseconds in range(1, 1_000)))


def go_duration(nanoseconds: int) -> bytes:
    """A duration as Go prints it, rounded up: `12ms`, `1.5s`, `6m0s`, `1h0m3s`."""
    milliseconds = (nanoseconds + 999_999) // 1_000_000
    if milliseconds < 1_000:
        return _SHORT[milliseconds]
    if milliseconds < 60_000:
        return b"%gs" % (milliseconds / 1_000.0)
    minutes, seconds = divmod((milliseconds + 999) // 1_000, 60)
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, seconds) if hours else b"%dm%ds" % (minutes, seconds)


def _meter(plan: Plan, family: int, form: bytes, kind: bytes) -> Meter:
    """form: how the vendor builds a name of a kind of limit and of what is told."""
    words = (b"limit", b"remaining", b"reset")
    parts = [(word, kind) if form.startswith(b"x-") else (kind, word) for word in words]
    limit, remaining, reset = (form % part for part in parts)
    amounts = [bound.limit.most for bound in plan.rates]
    return Meter(
        family, tuple((limit, b"%d" % most) if most is not None else None for most in amounts), remaining, reset
    )
