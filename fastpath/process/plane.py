"""A node's end of the control plane: its child, what it published, and the settings that come of both.

Owns: the order (the last publication is read before the first worker starts, so a revoked key stays revoked whatever
died meanwhile), following the folder, and what is said when something is wrong. Does not: give anything to workers; the
supervisor does; nor look at keys: which are good says each row. Concurrency: the supervisor's loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from backends.watch.report import Report
from fastpath.limits import seeding
from fastpath.observe.metrics import Metrics
from fastpath.process.control import ControlChild, ExpectExit, Say, settings_line
from fastpath.process.liaison import Liaison
from fastpath.process.policy import (
    Joined,
    Policy,
    find_clashes,
    join,
    join_registry,
    judge_registry,
    make_nobody,
    news_in,
    read_policy,
)
from fastpath.process.pulse import Pulse
from fastpath.process.scenery import Scenery
from fastpath.process.seeder import Seeder
from fastpath.publication import (
    Accepted,
    Folder,
    Follower,
    Intake,
    NudgeListener,
    Publication,
    PublicationError,
    Refused,
    SettingsSeal,
    Verifier,
    read_trust,
    settings_key,
)
from fastpath.settings import Settings, Shared
from fastpath.settings.control import PUBLISHED, TRUSTED
from fastpath.settings.pepper import PepperError, make_pepper
from fastpath.settings.problem import Problem, SettingsError
from fastpath.settings.token import pepper_id
from scheduler.clock import Clock

LOOK_EVERY: Final = 1.0
MOST_SAID: Final = 10
MOST_FAULTS: Final = 5

Apply = Callable[[Policy], Awaitable[str]]
"""Gives workers what a policy makes of the settings; "" or why they stay as they were."""


class ControlPlane:
    """Of one node. `folder`: the state folder. `policy` is what workers run by, None before the first."""

    def __init__(
        self,
        child: ControlChild | None,
        folder: Path,
        pepper: bytes,
        clock: Clock,
        say: Say,
        shared: Shared | None = None,
    ) -> None:
        """child: None where another node publishes. shared: by which Redis, None for no other nodes."""
        self.child = child
        self.pulse = Pulse(child, Liaison(folder), clock, say) if child is not None else None
        self._scenery = Scenery(child, Liaison(folder), self._refusal) if child is not None else None
        self._shared = shared
        self.policy: Policy | None = None
        self._folder = folder
        self._clock = clock
        self._pepper = pepper
        self._pepper_id = pepper_id(pepper)
        self._nobody = make_nobody(self._pepper_id)
        self._say = say
        self._apply: Apply | None = None
        self._follower: Follower | None = None
        self._nudges: NudgeListener | None = None
        self._told: frozenset[str] = frozenset()
        self._problem = ""
        self._uncarried = ""
        self._seeder: Seeder | None = None
        self._joined: Settings | None = None
        self._faults: tuple[str, ...] = ()

    async def begin(self) -> None:
        """Takes the last publication, if there is one. Call once, before the workers start."""
        await self._open()

    def count_in(self, metrics: Metrics) -> None:
        """Takes the node's arena: shows how its control process is, and closes hard budgets that are to be seeded.

        Call before the workers start, and only where this node has a control process.
        """
        child = self.child
        assert child is not None
        assert self.pulse is not None
        self.pulse.publish(metrics)
        metrics.read("fastpath_control_restarts_total", lambda: {(): child.restarts})
        if seeding.close(metrics.arena):
            self._seeder = Seeder(metrics.arena, Liaison(self._folder), self._clock, self._say)

    async def watch(self) -> None:
        """Feels its pulse, for ever."""
        if self.pulse is not None:
            await self._outlive(self.pulse.watch)

    async def tell(self, reports: Callable[[], list[Report]]) -> None:
        """Tells its control process of the file's models, and how endpoints are, for ever."""
        if self._scenery is not None:
            scenery = self._scenery
            await self._outlive(lambda: scenery.tell(lambda: self._joined, reports))

    async def seed(self) -> None:
        """Opens hard budgets once the ledger has said what was spent of them."""
        if self._seeder is not None:
            seeder = self._seeder
            await self._outlive(lambda: seeder.run(lambda: self._joined or Settings()))

    async def run(self, expect_exit: ExpectExit) -> None:
        """Keeps the control process alive until `child.stop`."""
        child = self.child
        if child is not None:
            await self._outlive(lambda: child.run(expect_exit))

    async def follow(self, apply: Apply) -> None:
        """Takes every publication, until it is cancelled."""
        self._apply = apply
        await self._outlive(self._follow)

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if self._shared is not None:
                tasks.create_task(self._carry(self._shared))
            while self._follower is None:  # the first control process has yet to say who signs
                await asyncio.sleep(LOOK_EVERY / 4)
                await self._open()
            tasks.create_task(self._follower.run())

    async def _carry(self, shared: Shared) -> None:
        from fastpath.process.carry import carry

        told = ""
        while True:
            try:
                await carry(shared, self._folder, self._pepper_id, self._say, self._carried, publishes=bool(self.child))
            except (PublicationError, OSError) as error:
                self._uncarried = f"publications are not carried between nodes: {error}"
                if self._uncarried != told:
                    told = self._uncarried
                    self._say(told)
            await asyncio.sleep(LOOK_EVERY)

    def _carried(self) -> None:
        self._uncarried = ""

    async def close(self) -> None:
        """Follows no more."""
        if self._follower is not None:
            await self._follower.close()
        if self._nudges is not None:
            self._nudges.close()

    def join(self, settings: Settings, policy: Policy | None = None) -> Joined:
        """What workers get of the settings of the file, with a policy or with the one in use."""
        return join(settings, policy or self.policy, self._nobody)

    def whole(self, settings: Settings, policy: Policy | None = None) -> Settings:
        """The settings of the file with published models, for what this process itself does with models."""
        return join_registry(settings, policy or self.policy)

    def judge(self, settings: Settings, policy: Policy | None = None) -> str:
        """Why the file's models cannot be served beside those of a policy, or of the one in use; "" when they can.

        What a start found wrong is served all the same, and told: it must not keep a revoked key in force.
        """
        fresh = news_in(judge_registry(settings, policy or self.policy), frozenset(self._faults))
        return "; ".join(fresh[:MOST_FAULTS])

    def use(self, settings: Settings, policy: Policy | None = None) -> None:
        """Notes what workers run by now, and says what is new about clashes."""
        if policy is not None:
            self._keep(policy)
        self._joined = settings
        self._faults = judge_registry(settings, self.policy)
        clashes = (*self._faults, *find_clashes(settings, self.policy))
        fresh = news_in(clashes, self._told)
        self._told = frozenset(clashes)
        for clash in fresh[:MOST_SAID]:
            self._say(clash)
        if len(fresh) > MOST_SAID:
            self._say(f"and {len(fresh) - MOST_SAID} more like these")

    def _keep(self, policy: Policy) -> None:
        if self.policy is not None and self.policy is not policy:
            self.policy.close()
        self.policy = policy

    def problems(self) -> tuple[str, ...]:
        """What is wrong with it now; traffic goes on all the same."""
        down = "" if self.child is None or self.child.url else "the control process is not serving"
        dead = self.pulse.problem if self.pulse is not None else ""
        closed = self._seeder.problem if self._seeder is not None else ""
        behind = self._follower.problem if self._follower is not None else ""
        return tuple(
            one
            for one in (down, dead, closed, behind, self._problem, self._uncarried, *self._faults[:MOST_FAULTS])
            if one
        )

    def _refusal(self) -> str:
        return self._follower.problem if self._follower is not None else ""

    async def _outlive(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does it until it is done: a mistake in here must not end a node whose workers serve."""
        while True:
            try:
                return await work()
            except Exception as bug:
                self._note(f"a bug in following the control plane, please report it, traffic goes on: {bug!r}")
                await asyncio.sleep(LOOK_EVERY)

    async def _open(self) -> None:
        """Begins to follow, when it is known whose publications to take."""
        try:
            trust = await asyncio.to_thread(read_trust, self._folder / TRUSTED)
            if trust is None:
                return
            folder = Folder(self._folder / PUBLISHED)
            verifier = Verifier(trust, self._pepper_id, Accepted(folder.path))
            intake = Intake(folder, verifier, SettingsSeal(settings_key(self._pepper)))
            self._nudges = NudgeListener(folder.path)
        except (PublicationError, OSError) as error:
            self._note(f"publications cannot be followed: {error}")
            return
        self._clear()
        self._follower = Follower(intake, self._nudges, self._prepare, self._say)
        await self._follower.start()

    async def _prepare(self, publication: Publication) -> Callable[[], None]:
        policy = await asyncio.to_thread(read_policy, publication)
        if self._apply is None:
            self._keep(policy)
        elif problem := await self._apply(policy):
            policy.close()
            raise Refused("unfit", problem)
        return self._clear

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            self._say(problem)
        self._problem = problem

    def _clear(self) -> None:
        self._problem = ""


def open_plane(settings: Settings, folder: Path, environ: Mapping[str, str], clock: Clock, say: Say) -> ControlPlane:
    """The control plane of a node, or its end of another node's. Raises SettingsError when its state folder cannot be
    used."""
    try:
        pepper = make_pepper(folder)
    except PepperError as error:
        raise SettingsError([Problem(0, 0, "state_dir", str(error))], "settings") from None
    control, child = settings.control, None
    if control is not None:
        line = settings_line(control, folder, environ, settings.decisions.keep_days)
        child = ControlChild(line, environ, clock, say)
    return ControlPlane(child, folder, pepper, clock, say, settings.shared)
