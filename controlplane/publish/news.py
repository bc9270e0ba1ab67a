"""Tells of changes once they are committed.

Owns that one call. A change that fails tells nobody.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from controlplane.access.principal import Actor
from controlplane.audit.trail import Change, Trail
from controlplane.store.database import Database


class HeardTrail(Trail):
    """A trail that calls `changed` after every commit. It must not fail, and not wait."""

    def __init__(self, database: Database, now: Callable[[], float], changed: Callable[[], None]) -> None:
        super().__init__(database, now)
        self._changed = changed

    @asynccontextmanager
    async def change(self, actor: Actor) -> AsyncIterator[Change]:
        """As `Trail.change`."""
        async with super().change(actor) as change:
            yield change
        self._changed()
