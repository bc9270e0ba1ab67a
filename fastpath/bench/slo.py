"""What counts as a good answer: limits on its times, as `ttft=200ms,tpot=30ms`.

Owns the syntax and the verdict on one answer. Pure functions.
"""

import re

import msgspec

NAMES = ("ttft", "tpot", "e2e")
_TERM = re.compile(r"(?P<name>\w+)\s*=\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|)")
_SECONDS = {"ms": 1e-3, "s": 1.0}


class SloError(ValueError):
    """The text is no SLO; the message says what to write."""


class Slo(msgspec.Struct, frozen=True):
    """Limits in seconds; None: any time is good."""

    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None

    def holds(self, ttft: float, tpot: float | None, e2e: float) -> bool:
        """Whether an answer with these times is good. An answer of one token has no TPOT and meets any."""
        limits = ((self.ttft, ttft), (self.tpot, tpot), (self.e2e, e2e))
        return all(limit is None or time is None or time <= limit for limit, time in limits)

    def __str__(self) -> str:
        limits = msgspec.structs.asdict(self).items()
        return ", ".join(f"{name} ≤ {limit * 1e3:g} ms" for name, limit in limits if limit is not None)


def parse_slo(text: str) -> Slo:
    """`ttft=200ms,tpot=0.03s` as limits. Raises SloError."""
    limits: dict[str, float] = {}
    for term in text.split(","):
        name, seconds = _parse_term(term.strip())
        if name in limits:
            raise SloError(f"{name} is there twice")
        limits[name] = seconds
    return Slo(**limits)


def _parse_term(term: str) -> tuple[str, float]:
    found = _TERM.fullmatch(term)
    if found is None:
        raise SloError(f"{term!r} is not NAME=TIME, such as ttft=200ms")
    if found["name"] not in NAMES:
        raise SloError(f"{found['name']!r} is not measured; limits are set on {', '.join(NAMES)}")
    if not found["unit"]:
        raise SloError(f"{term!r} needs a unit: ms or s")
    return found["name"], float(found["number"]) * _SECONDS[found["unit"]]
