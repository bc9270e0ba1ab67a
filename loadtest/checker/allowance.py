"""What faults permit: for the whole run, or for the requests that ran while one of them acted.

Owns the shape and how permits add up. Does not judge. Concurrency: every value is frozen.
"""

from typing import Self

import msgspec

EXHAUSTED = frozenset({502, 503, 504})
"""What a request may get that met a fault of every model server there is."""


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault permits to requests that run at some moment from `begin` to `end` (wall clock, seconds)."""

    begin: float
    end: float
    statuses: frozenset[int] = frozenset()
    """5xx statuses."""
    cuts: bool = False
    """The connection may break off, anywhere."""
    hangups: bool = False
    """The connection may be refused, or end before the first byte of an answer."""
    breaks: bool = False
    """A stream may end with an in-band error."""
    unrecorded: bool = False
    """The gateway's record may be missing."""
    unlogged: bool = False
    """A model server's line may be missing."""
    resends: bool = False
    """An attempt may have been sent twice: on a kept connection that died before the first byte of an answer, and on a
    fresh one."""
    upstream: str = ""
    """The model server that the fault takes away."""

    def covers(self, begin: float, end: float) -> bool:
        """Whether a request from `begin` to `end` met it."""
        return self.begin <= end and begin <= self.end


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a run permits; `at` says what it permits to one request."""

    statuses: frozenset[int] = frozenset()
    """5xx statuses and no others."""
    cuts: bool = False
    """Whether connections may be refused, or break without a terminal event (a killed worker)."""
    patched_bodies: bool = False
    """Whether the gateway may change request bodies (a renamed model, usage asked for)."""
    errors: bool = True
    """Whether a 4xx or an in-band error needs no permit."""
    hangups: bool = False
    breaks: bool = False
    unrecorded: bool = False
    unlogged: bool = False
    resends: bool = False
    permits: tuple[Permit, ...] = ()
    upstreams: int = 0
    """Model servers behind the gateway; a request that met faults of all may get a status of EXHAUSTED. 0: unknown."""

    def at(self, begin: float, end: float) -> Self:
        """With the permits of a request that ran from `begin` to `end`."""
        met = [permit for permit in self.permits if permit.covers(begin, end)]
        if not met:
            return self
        return msgspec.structs.replace(
            self,
            statuses=self.statuses.union(self._exhausted(met), *(permit.statuses for permit in met)),
            cuts=self.cuts or any(permit.cuts for permit in met),
            hangups=self.hangups or any(permit.hangups for permit in met),
            breaks=self.breaks or any(permit.breaks for permit in met),
            unrecorded=self.unrecorded or any(permit.unrecorded for permit in met),
            unlogged=self.unlogged or any(permit.unlogged for permit in met),
            resends=self.resends or any(permit.resends for permit in met),
        )

    def _exhausted(self, met: list[Permit]) -> frozenset[int]:
        away = {permit.upstream for permit in met if permit.upstream}
        return EXHAUSTED if 0 < self.upstreams <= len(away) else frozenset()
