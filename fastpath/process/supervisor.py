"""The parent of all processes of a node: reads settings, holds the listening socket, keeps workers alive.

Owns: signals, reloads, the admin port, the service manager's notifications, and the order of start and stop. Does not:
see a request. It stays small: no door, no uvloop, nothing that a worker needs. Concurrency: one plain asyncio loop.
"""

import asyncio
import faulthandler
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from _native.arena import Arena
from fastpath import __version__
from fastpath.limits.capacity import CapacityWatch
from fastpath.limits.seeding import open_unseeded
from fastpath.observe.metrics import Metrics
from fastpath.observe.pool import Pool
from fastpath.process.admin import AdminServer
from fastpath.process.channel import Attach
from fastpath.process.fleet import Fleet
from fastpath.process.handover import Inheritance, Successor, inherit, own_command
from fastpath.process.listen import ListenError, open_for_callers, open_listener, url_of
from fastpath.process.member import Given, Launch
from fastpath.process.node_map import NodeMap, open_map, sizes_for
from fastpath.process.notify import Notifier
from fastpath.process.reload import FileWatch, keep_fixed
from fastpath.process.watch import WatchChild, show
from fastpath.process.watchdog import Watchdog
from fastpath.process.watched import plan_of
from fastpath.settings import Listen, Settings, encode_settings, state_folder
from fastpath.settings.file import SettingsError, validate
from fastpath.settings.policy_warnings import find_policy_warnings
from scheduler.clock import Clock, SystemClock

if TYPE_CHECKING:  # loaded when configured: it brings cryptography
    from backends.watch.report import Report
    from fastpath.process.plane import ControlPlane
    from fastpath.process.policy import Policy
    from fastpath.shares.keeper import Keeper

APP: Final = "fastpath.app:build"
LOOK_EVERY: Final = 1.0
START_WITHIN: Final = 60.0

Load = Callable[[], Settings]
Say = Callable[[str], None]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(
    load: Load,
    watch: Path | None = None,
    *,
    app: str = APP,
    environ: Mapping[str, str] | None = None,
    withheld: Collection[str] = (),
    say: Say = _say,
) -> int:
    """Serves until SIGTERM or SIGINT; gives the exit status.

    `load` makes the settings, at first and for every reload (SIGHUP, or a change of the file `watch`); it raises
    SettingsError for bad ones. `app` is what workers build. `withheld` names environment variables that the settings
    use; it may grow with a reload, and no worker ever sees them. `say` prints a line (default: to standard error).
    """
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    environ = os.environ if environ is None else environ
    inheritance = inherit(environ)
    try:
        settings = load()
        listener, admin = _open_listeners(settings.listen, inheritance)
        node_map = _make_map(settings, environ, say)
    except (SettingsError, ListenError) as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"this machine has no memory for the counters that workers share: {error.strerror}")
        return 1
    with listener, admin, closing(node_map):
        attach = Attach(node_map.secret, str(node_map.folder) if node_map.folder else None)
        launch = Launch(app, listener.fileno(), node_map.fd, attach, environ, withheld)
        arena = node_map.arena
        return asyncio.run(_serve(settings, load, watch, (listener, admin), arena, launch, say, inheritance))


def _make_map(settings: Settings, environ: Mapping[str, str], say: Say) -> NodeMap:
    """The arena of this node. Raises OSError when the machine has no memory for it."""
    listen = settings.listen
    address = listen.unix or (f"{listen.host}:{listen.port}" if listen.port else None)
    state = state_folder(settings.state_dir, environ, os.geteuid())
    return open_map(
        state,
        address,
        sizes_for(settings.workers, shared=settings.shared is not None),
        now=time.monotonic_ns(),
        say=say,
    )


def models_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The labels of each model's endpoints."""
    return {model.name: tuple(endpoint.label for endpoint in model.endpoints) for model in settings.models}


def _open_listeners(listen: Listen, inheritance: Inheritance | None) -> tuple[socket.socket, socket.socket]:
    """The sockets of callers and of the admin port: inherited where the settings have the same address, else new."""
    callers = inheritance.take("callers", listen.host, listen.port) if inheritance and not listen.unix else None
    admin = inheritance.take("admin", listen.admin_host, listen.admin_port) if inheritance else None
    return (
        open_for_callers(listen, callers),
        admin or open_listener(listen.admin_host, listen.admin_port, 128, "--admin-port"),
    )


async def _serve(
    settings: Settings,
    load: Load,
    watch: Path | None,
    sockets: tuple[socket.socket, socket.socket],
    arena: Arena,
    launch: Launch,
    say: Say,
    inheritance: Inheritance | None,
) -> int:
    clock = SystemClock()
    try:
        plane = await _begin_plane(settings, launch.environ, clock, say)
    except SettingsError as error:
        say(str(error))
        return 1
    metrics = Metrics(arena)
    metrics.read("fastpath_build_info", lambda: {(__version__,): 1})
    for result in ("ok", "rejected"):  # shown as 0 before the first
        metrics.counter("fastpath_config_reloads_total", (result,))
    if plane is not None and plane.child is not None:
        plane.count_in(metrics)
    else:
        open_unseeded(arena)
    if plane is not None:
        plane.use(settings)
    pool = Pool(clock, models_of(_whole(settings, plane)))
    try:
        shares = _begin_shares(_whole(settings, plane), launch.environ, metrics, clock, say)
    except SettingsError as error:
        say(str(error))
        if plane is not None:
            await plane.close()
        return 1
    fleet = Fleet(launch, settings.workers, _for_workers(settings, plane), metrics, pool, clock, say)
    notifier = Notifier(launch.environ, os.getpid())
    supervisor = Supervisor(settings, load, watch, sockets, fleet, metrics, notifier, say)
    supervisor.door = settings.listen.choose_door(launch.environ)
    supervisor.pool = pool
    supervisor.plane = plane
    supervisor.shares = shares
    supervisor.capacity.configure(_whole(settings, plane))
    supervisor.watch_child = WatchChild(launch, metrics, clock, say)
    supervisor.watch_child.use(plan_of(_whole(settings, plane)))
    supervisor.successor = Successor(sockets, launch.environ, own_command())
    try:
        return await supervisor.serve(inheritance)
    finally:
        notifier.close()
        if plane is not None:
            await plane.close()


async def _begin_plane(settings: Settings, environ: Mapping[str, str], clock: Clock, say: Say) -> "ControlPlane | None":
    """The control plane's end on this node, None where the settings want none. Raises SettingsError."""
    if settings.control is None and not (settings.shared and settings.shared.follow):
        return None
    from fastpath.process.plane import open_plane

    folder = state_folder(settings.state_dir, environ, os.geteuid())
    plane = open_plane(settings, folder, environ, clock, say)
    await plane.begin()
    return plane


def _begin_shares(
    settings: Settings, environ: Mapping[str, str], metrics: Metrics, clock: Clock, say: Say
) -> "Keeper | None":
    """The keeper of what this node shares with others, None where it stands alone."""
    if settings.shared is None:
        return None
    from fastpath.process.shares import open_keeper

    folder = state_folder(settings.state_dir, environ, os.geteuid())
    return open_keeper(settings, settings.shared, folder, metrics, clock, say)


def _for_workers(settings: Settings, plane: "ControlPlane | None", policy: "Policy | None" = None) -> Given:
    """What workers get, with a policy or with the one in use; whatever they have no use for is not in there."""
    joined = plane.join(settings, policy) if plane is not None else None
    own = joined.settings if joined is not None else settings
    if own.shared is not None:
        from fastpath.process.shares import for_workers

        own = for_workers(own)
    encoded = encode_settings(own)
    return Given(encoded) if joined is None else Given(encoded, joined.roster, joined.tables)


def _whole(settings: Settings, plane: "ControlPlane | None") -> Settings:
    """The settings of the file with the models that are published."""
    return plane.whole(settings) if plane is not None else settings


class Supervisor:
    """The life of a node, from the first worker to the last."""

    def __init__(
        self,
        settings: Settings,
        load: Load,
        watch: Path | None,
        sockets: tuple[socket.socket, socket.socket],
        fleet: Fleet,
        metrics: Metrics,
        notifier: Notifier,
        say: Say,
    ) -> None:
        self._settings = settings
        self._load = load
        self._watch = FileWatch(watch) if watch else None
        self.successor: Successor | None = None
        self.pool: Pool | None = None
        self.plane: ControlPlane | None = None
        self.shares: Keeper | None = None
        self.watch_child: WatchChild | None = None
        self.door: str = settings.listen.door
        self._listener, admin = sockets
        self._admin_url = url_of(admin)
        self._admin = AdminServer(fleet, admin, settings.listen.admin_host)
        self._fleet = fleet
        self._metrics = metrics
        self._notifier = notifier
        self._say = say
        self._clock = SystemClock()
        self._stopping = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._handover_wanted = asyncio.Event()
        self._handed_over = False
        self.capacity = CapacityWatch(metrics.arena, self._clock, settings)
        self._configuring = asyncio.Lock()

    async def serve(self, inheritance: Inheritance | None = None) -> int:
        """Starts, serves, drains; gives the exit status. `inheritance` is what a predecessor left."""
        self._handle_signals()
        if inheritance is None:  # else the predecessor answers there until this one serves
            await self._admin.start()
        async with asyncio.TaskGroup() as tasks:
            chores = [tasks.create_task(self._fleet.poll())]
            self._fleet.start(tasks)
            self._admin.degraded = self._fleet.degraded = self._problems
            if self.watch_child is not None:
                tasks.create_task(self.watch_child.run(self._fleet.expect_exit))
                self._show_watched(self.watch_child)
            if self.shares is not None:
                chores.append(tasks.create_task(self.shares.run()))
            if self.plane is not None:
                tasks.create_task(self.plane.run(self._fleet.expect_exit))
                chores += [tasks.create_task(self.plane.watch()), tasks.create_task(self.plane.seed())]
                chores.append(tasks.create_task(self.plane.tell(self._reports)))
            problem = await self._wait_for_start()
            if problem:
                self._say(problem)
            elif not self._stopping.is_set():
                if inheritance is not None:
                    await self._admin.start()
                    inheritance.serving()
                self._announce()
                chores += [tasks.create_task(chore) for chore in self._chores()]
                await self._stopping.wait()
            await self._drain(0 if problem else self._settings.listen.drain)
            for chore in chores:
                chore.cancel()
        await self._admin.close()
        return 1 if problem else 0

    def _show_watched(self, child: WatchChild) -> None:
        self._admin.endpoints = lambda: show(child.reports(), self._clock.monotonic())
        if self.pool is not None:
            self.pool.failed = child.failed

    def _reports(self) -> "list[Report]":
        """How the endpoints are that are watched."""
        return self.watch_child.reports() if self.watch_child is not None else []

    def _problems(self) -> tuple[str, ...]:
        """What is wrong while traffic goes on."""
        parts = (self.plane, self.shares, self.watch_child)
        return tuple(problem for one in parts if one is not None for problem in one.problems())

    def _chores(self) -> tuple[Coroutine[Any, Any, None], ...]:
        watchdog = Watchdog(self._clock, self._say)
        return (
            self._reload_forever(),
            self._look_forever(),
            self._stay_alive(),
            self._measure_forever(),
            self._hand_over_forever(),
            watchdog.watch(self._fleet.living),
            *((self.plane.follow(self._take_policy),) if self.plane is not None else ()),
        )

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._fleet.reap)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        loop.add_signal_handler(signal.SIGUSR2, self._handover_wanted.set)
        # Service managers and shells repeat SIGTERM without a thought; a person who presses Ctrl-C again means it.
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._on_interrupt)

    def _on_interrupt(self) -> None:
        if self._stopping.is_set():
            self._say("stopping at once")
            self._fleet.hurry()
            if self.plane is not None and self.plane.child is not None:
                self.plane.child.hurry()
        self._stopping.set()

    async def _wait_for_start(self) -> str:
        """Until all workers are ready or we are told to stop; "" or why the node cannot start."""
        stopping = asyncio.create_task(self._stopping.wait())
        waiting: set[asyncio.Future[Any]] = {self._fleet.started, stopping}
        await asyncio.wait(waiting, timeout=START_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._fleet.started.done():
            return self._fleet.started.result()
        return "" if self._stopping.is_set() else f"not all workers were ready after {START_WITHIN:.0f} s"

    def _announce(self) -> None:
        listen, count = self._settings.listen, self._settings.workers
        url = url_of(self._listener, "https" if listen.tls else "http")
        workers = "1 worker" if count == 1 else f"{count} workers"
        self._warn(self._settings)
        self._say(f"fastpath {__version__} serving on {url} (admin {self._admin_url}), {workers}, door {self.door}")
        self._notifier.ready(f"serving on {url}")

    async def _drain(self, deadline: float) -> None:
        # While any process holds the socket open the kernel queues connections that nobody will accept.
        self._listener.close()
        if self._handed_over:
            await self._admin.close()  # the successor answers on that port now
            await self._stop_control()  # and starts its own as soon as this one is gone
            await self._stop_watching()  # two of them would write one sample
            await self._end_shares(hand_over=True)
        else:
            self._notifier.stopping()
        await self._fleet.drain(deadline)
        await self._stop_watching()
        await self._end_shares(hand_over=False)
        await self._stop_control()

    async def _end_shares(self, *, hand_over: bool) -> None:
        if self.shares is not None:
            await self.shares.close(hand_over=hand_over)

    async def _stop_watching(self) -> None:
        if self.watch_child is not None:
            await self.watch_child.stop()

    async def _stop_control(self) -> None:
        if self.plane is not None and self.plane.child is not None:
            await self.plane.child.stop()

    async def _reload_forever(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            self._notifier.reloading(self._clock.monotonic())
            problem = await self._reload()
            self._metrics.count("fastpath_config_reloads_total", ("rejected" if problem else "ok",))
            self._say(f"settings not reloaded, the old ones stay: {problem}" if problem else "settings reloaded")
            self._notifier.ready("serving; the last reload was rejected" if problem else "serving")

    async def _reload(self) -> str:
        """Swaps settings; "" or why not."""
        try:
            wanted = self._load()
            effective, fixed = keep_fixed(self._settings, wanted)
            if fixed:  # the new file is sound, but what runs is a mixture: no keys and an open address, say
                validate(effective, "the new settings with what cannot change while running")
        except SettingsError as error:
            return str(error)
        except Exception as error:  # `load` is the caller's code, and a node that serves must outlive it
            return f"{type(error).__name__}: {error}"
        problem = await self._configure(effective)
        if not problem:
            self._report_fixed(fixed)
            self._warn(effective)
        return problem

    async def _configure(self, settings: Settings) -> str:
        """Gives workers the settings of a file, with what is published; "" or why they stay as they were."""
        async with self._configuring:
            problem = self.plane.judge(settings) if self.plane is not None else ""
            problem = problem or await self._fleet.configure(_for_workers(settings, self.plane))
            if problem:
                return problem
            self._settings = settings
            if self.plane is not None:
                self.plane.use(settings)
            self._use_models()
            return ""

    def _use_models(self) -> None:
        """Goes on with the models of the file and those that are published: measured, watched and shown."""
        whole = _whole(self._settings, self.plane)
        self.capacity.configure(whole)
        if self.watch_child is not None:
            self.watch_child.use(plan_of(whole))
        if self.shares is not None:
            self.shares.configure(whole)
        if self.pool is not None:
            self.pool.configure(models_of(whole))

    async def _take_policy(self, policy: "Policy") -> str:
        """Gives workers what was published, with the settings of the file; "" or why they stay as they were."""
        assert self.plane is not None
        async with self._configuring:
            problem = self.plane.judge(self._settings, policy)
            problem = problem or await self._fleet.configure(_for_workers(self._settings, self.plane, policy))
            if not problem:
                before = self.plane.whole(self._settings).models
                self.plane.use(self._settings, policy)
                if self.plane.whole(self._settings).models != before:
                    self._use_models()
            return problem

    def _warn(self, settings: Settings) -> None:
        for warning in find_policy_warnings(settings):
            self._say(f"warning: {warning.format('settings')}")

    def _report_fixed(self, paths: list[str]) -> None:
        if paths:
            self._say(f"these settings change only with a restart: {', '.join(paths)}")

    async def _hand_over_forever(self) -> None:
        """On SIGUSR2 a successor takes over and this supervisor drains; one that fails to start changes nothing."""
        while self.successor is not None:
            await self._handover_wanted.wait()
            self._handover_wanted.clear()
            problem = await self._hand_over(self.successor)
            if problem:
                self._say(f"not handed over, this process goes on: {problem}")
            else:
                self._say(f"handed over to process {self.successor.pid}; draining")
                self._notifier.succeeded_by(self.successor.pid)
                self._handed_over = True
                self._stopping.set()

    async def _hand_over(self, successor: Successor) -> str:
        """Starts the successor; "" or why it does not serve."""
        if self._stopping.is_set():
            return "it is stopping"
        if os.getpid() == 1:
            return "a container ends with its first process; start another container instead"
        return await successor.start(self._fleet.expect_exit, START_WITHIN)

    async def _look_forever(self) -> None:
        while self._watch is not None:
            await asyncio.sleep(LOOK_EVERY)
            if self._watch.changed():
                self._reload_wanted.set()

    async def _measure_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.capacity.look()

    async def _stay_alive(self) -> None:
        while self._notifier.watchdog is not None:
            await asyncio.sleep(self._notifier.watchdog / 2)
            self._notifier.alive()
