"""Decisions of this node's requests, for administrators: read from the state folder that workers write to.

Owns whose decisions a role sees. Does not own the records (`fastpath.explain`), which no database ever has.
Concurrency: one search at a time, in a thread.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from controlplane.access.principal import Principal
from controlplane.problem import missing
from fastpath.explain.decision import Decision, id_of
from fastpath.explain.shelf import Shelf
from fastpath.explain.view import ADMIN, TENANT, show

FOLDER: Final = "decisions"
DAY: Final = 86_400.0


class Decisions:
    """The decisions in a state folder, of the last `keep_days` days. now: Unix seconds."""

    def __init__(self, state: Path, keep_days: int, now: Callable[[], float]) -> None:
        self._shelf = Shelf(state / FOLDER)
        self._keep = keep_days * DAY
        self._now = now
        self._searching = asyncio.Lock()

    async def get(self, who: Principal, text: str) -> dict[str, Any]:
        """The decision of a request. Raises 404, the same for one out of reach as for one that is none."""
        request = id_of(text)
        decision = None
        if request is not None:
            async with self._searching:
                decision = await asyncio.to_thread(self._shelf.find, request, self._now() - self._keep)
        if decision is None or not _reaches(who, decision):
            raise missing("decision")
        return show(decision, TENANT if who.role.in_tenant else ADMIN)


def _reaches(who: Principal, decision: Decision) -> bool:
    """Whether the request was one that this principal sees: of its tenant, and of its user where it has one."""
    reach, payer = who.reach, decision.payer
    if reach.tenant is not None and payer.tenant != reach.tenant:
        return False
    return reach.user is None or payer.user == reach.user
