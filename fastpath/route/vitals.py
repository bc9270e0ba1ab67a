"""Gives the endpoints of a snapshot their vitals, and tells health who is whose peer.

Owns which endpoints are peers (one model, one tier, one model name sent) and who stands alone. Vitals belong to an
endpoint's spec, so a reload that leaves it alone forgets nothing. The worker's loop.
"""

from _native.arena import Arena
from backends.base import EndpointSpec
from fastpath.settings import Health as HealthSettings
from fastpath.snapshot import Route, Snapshot, Target
from scheduler.breaker import Rules, SharedBreaker
from scheduler.health import Health, Pace, Vitals, breaker_id


class Ward:
    """The vitals of all endpoints of one worker."""

    def __init__(self, arena: Arena, health: Health) -> None:
        self._arena = arena
        self._health = health
        self._vitals: dict[EndpointSpec, Vitals] = {}

    def take_in(self, snapshot: Snapshot, now: float) -> None:
        """Sets `vitals` of every target, before the snapshot is used."""
        rules = rules_of(snapshot.settings.health)
        kept: dict[EndpointSpec, Vitals] = {}
        groups: dict[tuple[str, str, str | None], list[Vitals]] = {}
        accompanied: set[EndpointSpec] = set()
        for route in snapshot.routes.values():
            for target in route.targets:
                vitals = kept[target.spec] = kept.get(target.spec) or self._of(route, target)
                vitals.breaker.rules = rules
                target.vitals = vitals
                groups.setdefault((route.name, target.tier, target.model), []).append(vitals)
                if len(route.targets) > 1 or route.chain:
                    accompanied.add(target.spec)
        for spec, vitals in kept.items():
            vitals.alone = spec not in accompanied
        self._vitals = kept
        self._health.watch(groups.values(), pace_of(snapshot.settings.health), now)

    def _of(self, route: Route, target: Target) -> Vitals:
        found = self._vitals.get(target.spec)
        if found is not None and found.slot == target.slot:
            return found
        word = self._arena.word(breaker_id(route.name, target.name, target.spec.url, target.spec.api_key))
        return Vitals(target.slot, target.name, SharedBreaker(word, Rules()))


def rules_of(settings: HealthSettings) -> Rules:
    """The breaker's numbers."""
    return Rules(
        failures=settings.failures,
        out_first=settings.out,
        out_most=settings.out_max,
        probes=settings.probes,
        rest_most=settings.rest_max,
    )


def pace_of(settings: HealthSettings) -> Pace:
    """When answers are slow, and how endpoints come back."""
    return Pace(settings.slow_factor, settings.slow_start, settings.panic)
