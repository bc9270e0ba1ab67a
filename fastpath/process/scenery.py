"""Tells the control process of this node what its registry of models must know: the file's models, and how endpoints
are.

Owns what is told and when: at once to a control process that is new, then whatever changed, looked for four times a
second. Keys never leave this process this way. Does not own the form (`fastpath.liaison`). The supervisor's loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from backends.watch.report import Report
from fastpath.liaison import EndpointSeen, ModelSeen, Noted, SceneShown
from fastpath.process.liaison import NoAnswer
from fastpath.process.pulse import Asks, Patient
from fastpath.settings import Endpoint, Settings

LOOK_EVERY: Final = 0.25
WITHIN: Final = 2.0

#: What is shown of an endpoint of the file, and judged beside those of the registry.
SHOWN: Final = ("url", "model", "tier", "region", "weight", "dialect", "provider", "chip", "version")


class Scenery:
    """For one control process and those that take its place."""

    def __init__(self, child: Patient, asks: Asks, problem: Callable[[], str]) -> None:
        """problem: why the last publication was refused, "" when it was not."""
        self._child = child
        self._asks = asks
        self._problem = problem
        self._told: tuple[str, SceneShown] | None = None
        self._settings: Settings | None = None
        self._models: tuple[ModelSeen, ...] = ()

    async def tell(self, settings: Callable[[], Settings | None], reports: Callable[[], list[Report]]) -> None:
        """For ever. settings: of the file."""
        while True:
            await self.look(settings(), reports())
            await asyncio.sleep(LOOK_EVERY)

    async def look(self, settings: Settings | None, reports: list[Report]) -> None:
        """Tells once, if there is something to tell and somebody to tell it to."""
        if not self._child.url:
            self._told = None  # the next one may serve at the same place
        if settings is None or not self._child.url:
            return
        if settings is not self._settings:
            self._settings = settings
            self._models = tuple(ModelSeen(one.name, _shown(one.endpoints)) for one in settings.models)
        scene = SceneShown(
            models=self._models,
            states=tuple(EndpointSeen(*_facts(one)) for one in reports),
            data_class=settings.data_class,
            local_networks=settings.local_networks,
            problem=self._problem(),
        )
        told = self._child.url, scene
        if told == self._told:
            return
        try:
            answer = await self._asks.ask(scene, WITHIN)
        except NoAnswer:
            return  # its pulse tells of one that does not answer
        if isinstance(answer, Noted):
            self._told = told


def _shown(endpoints: Iterable[Endpoint]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.label,
            "has_key": one.api_key is not None,
            **{name: value for name in SHOWN if (value := msgspec.to_builtins(getattr(one, name))) is not None},
        }
        for one in endpoints
    ]


def _facts(report: Report) -> tuple[str, str, str, str, float]:
    return report.model, report.endpoint, report.state.value, report.message, report.since
