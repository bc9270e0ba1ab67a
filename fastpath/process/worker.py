"""The worker process: `python -m fastpath.process.worker`, exec'ed by the supervisor.

Owns: the process (loop, signals, fatal traces), the supervisor's channel, and what the app is built from. Does not:
serve; the app does. Concurrency: one uvloop, plus the access log's thread. When the supervisor is gone the worker
stops accepting, drains and exits: there is nobody left to replace or reload it.
"""

import argparse
import asyncio
import faulthandler
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import uvloop

from _native.arena import Arena
from fastpath.arena import join_arena
from fastpath.identity.published import Published
from fastpath.observe.access_log import NoRecords, Records, RecordWriter
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.lag import Tick
from fastpath.observe.metrics import Metrics
from fastpath.process.channel import (
    Attach,
    Channel,
    Condition,
    Configure,
    Configured,
    Debug,
    DebugRequest,
    LoadRequest,
    Loads,
    Pulse,
    PulseRequest,
    Ready,
    ToSupervisor,
    ToWorker,
    open_worker_end,
)
from fastpath.process.listen import open_in_worker
from fastpath.process.node_map import attach_map
from fastpath.process.tables import TablesError, prepare, take_tables
from fastpath.route.live import LiveEndpoint
from fastpath.settings import Settings, decode_settings
from fastpath.settings.problem import SettingsError
from fastpath.settings.roster import Roster, decode_roster
from scheduler.clock import Clock, SystemClock

OVERTIME: Final = 3.0  # seconds that an app may take beyond its deadline to end what is left
FLUSH: Final = 1.0
STDOUT: Final = 1


class App(Protocol):
    """What a worker serves with. All calls come from its loop."""

    @property
    def ready(self) -> bool:
        """Whether it would take a new request."""
        ...

    async def start(self, listener: socket.socket) -> None:
        """Accepts connections on `listener`, which it takes over."""
        ...

    def reload(self, settings: Settings, published: Published | None = None) -> None:
        """Swaps settings, and what the control plane published, at once. Settings that are the very same as before
        need not be compiled anew. Raises SettingsError and changes nothing when it cannot."""
        ...

    def note_condition(self, *, degraded: bool) -> None:
        """Whether something is wrong on this node while traffic goes on."""
        ...

    async def drain(self, deadline: float) -> None:
        """Stops accepting, returns when all requests are done; after `deadline` seconds ends them in-band.

        It may be cancelled and called again with a shorter deadline.
        """
        ...

    async def close(self) -> None:
        """Closes whatever is open."""
        ...

    def debug_requests(self) -> list[dict[str, Any]]:
        """Requests in flight: id, phase, age_ms, model, endpoint, buffered bytes."""
        ...

    def live(self) -> list[LiveEndpoint]:
        """What it knows of its endpoints now."""
        ...


COLLECT_AFTER: Final = 20_000
SWITCH_AFTER: Final = 0.1  # seconds


def tune_interpreter() -> None:
    """Takes what exists now out of the cycle collector and lets it run rarely; leaves the loop its thread.

    The loop gives the interpreter up by itself between any two callbacks. Made to do so inside one (every 5 ms by
    default) it and the door's threads trade places: 71 to 75 us of CPU per request at 100 ms, 72 to 95 at 5 ms, three
    measurements each, one after the other.

    A request leaves no cycles behind, so the collector finds nothing; at the default threshold it still looked through
    the objects of all running requests thousands of times a second (14 % of a worker's CPU, measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    sys.setswitchinterval(SWITCH_AFTER)


def keep_for_long() -> None:
    """Takes what a swap made out of the cycle collector too: 10,000 roster entries would be looked through again and
    again. Old objects are freed by their count as before."""
    gc.collect(0)
    gc.freeze()


Build = Callable[[Settings, Metrics, Records, MemoryBudget, Tick, Clock], App]


class Instruments:
    """What an app is given besides settings: the worker's registry, record writer, budget, tick and clock."""

    def __init__(self, settings: Settings, arena: Arena, loop: asyncio.AbstractEventLoop) -> None:
        self.metrics = Metrics(arena)
        self.clock = SystemClock()
        self.budget = MemoryBudget(settings.limits.memory)
        self.records = open_records(settings)
        self.tick = Tick(loop, self.clock, lambda lag: self.metrics.observe("fastpath_loop_lag_seconds", (), lag))
        self.tick.every(self.records.kick)
        self.tick.every(self.metrics.publish)
        self.tick.start()
        self._publish()

    def _publish(self) -> None:
        records, budget = self.records, self.budget
        self.metrics.read("fastpath_access_log_lines_total", lambda: {(): records.written})
        self.metrics.read("fastpath_access_log_dropped_total", lambda: {(): records.dropped})
        self.metrics.read("fastpath_memory_budget_bytes", lambda: {("used",): budget.used, ("limit",): budget.limit})

    def close(self) -> None:
        """Flushes records; counts are final after it, and the arena is left."""
        self.tick.stop()
        self.records.close(FLUSH)
        self.metrics.publish()
        self.metrics.arena.leave()


def open_records(settings: Settings) -> Records:
    """The access log that the settings ask for. Raises OSError when its file cannot be opened."""
    if settings.log.access == "off":
        return NoRecords()
    target = STDOUT if settings.log.access == "stdout" else settings.log.access
    return RecordWriter(target, settings.log.ring)


class Worker:
    """One life: configured once, reconfigured often, drained at the end."""

    def __init__(
        self,
        channel: Channel[ToWorker, ToSupervisor],
        listener: socket.socket,
        arena_fd: int,
        tables: socket.socket,
        build: Build,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._channel = channel
        self._listener = listener
        self._arena_fd = arena_fd
        self._tables = tables
        self._arena: Arena | None = None
        self._build = build
        self._loop = loop
        self._settings = Settings()
        self._encoded = b""
        self._roster = b"", Roster()
        self._instruments: Instruments | None = None
        self._app: App | None = None
        self._draining: asyncio.Task[None] | None = None
        self._finished: asyncio.Future[int] = loop.create_future()

    async def run(self) -> int:
        """Serves until told to drain or until the supervisor is gone; gives the exit status."""
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(self._on_task_end)
        try:
            return await self._finished
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            await self._close()

    def begin_drain(self, deadline: float) -> None:
        """Starts to drain, or starts again with another deadline."""
        if self._draining is not None:
            self._draining.cancel()
        self._draining = asyncio.create_task(self._drain(deadline))
        self._draining.add_done_callback(self._on_task_end)

    def on_terminate(self) -> None:
        """SIGTERM meant for this process alone: a graceful end, after which it is replaced."""
        if self._draining is None:
            self.begin_drain(self._settings.listen.drain)

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            await self._handle(message)
        self.on_terminate()

    def _on_task_end(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._finished.done():
            self._finished.set_exception(error)

    async def _handle(self, message: ToWorker) -> None:
        if isinstance(message, Configure):
            await self._configure(message)
        elif isinstance(message, Attach):
            self._attach(message)
        elif isinstance(message, PulseRequest):
            self._answer_pulse(message.number)
        elif isinstance(message, Condition):
            if self._app is not None:
                self._app.note_condition(degraded=message.degraded)
        elif isinstance(message, DebugRequest):
            requests = self._app.debug_requests() if self._app else []
            self._channel.send(Debug(message.number, requests))
        elif isinstance(message, LoadRequest):
            self._channel.send(Loads(message.number, self._app.live() if self._app else []))
        else:
            self.begin_drain(message.deadline)

    def _attach(self, message: Attach) -> None:
        if message.folder is None:
            self._arena = attach_map(self._arena_fd, message.secret)
        else:
            self._arena = join_arena(Path(message.folder), message.secret)

    async def _configure(self, message: Configure) -> None:
        same = message.settings == self._encoded
        settings = self._settings if same else decode_settings(message.settings)
        try:
            published = self._take(message)
            if self._app is None:
                await self._start(settings, published)
            else:
                self._app.reload(settings, published)
                keep_for_long()
        except (SettingsError, TablesError, OSError, ValueError, msgspec.MsgspecError) as error:
            self._refuse(message.number, str(error))
            return
        self._settings, self._encoded = settings, message.settings
        self._channel.send(Configured(message.number, ok=True))

    def _take(self, message: Configure) -> Published | None:
        """What was published, None before anything was. A roster that is the same as before is not decoded again."""
        if not message.tables:
            return None
        tables = take_tables(self._tables, message.number, message.tables)
        if message.roster != self._roster[0]:
            self._roster = message.roster, decode_roster(message.roster)
        return Published(self._roster[1], tables)

    async def _start(self, settings: Settings, published: Published | None) -> None:
        assert self._arena is not None  # Attach is the first message
        if settings.control is not None:
            prepare()
        given = self._instruments = Instruments(settings, self._arena, self._loop)
        app = self._build(settings, given.metrics, given.records, given.budget, given.tick, given.clock)
        if published is not None:
            app.reload(settings, published)
        await app.start(open_in_worker(self._listener, settings.listen))
        self._app = app
        given.metrics.publish()
        tune_interpreter()
        self._channel.send(Ready())

    def _refuse(self, number: int, problem: str) -> None:
        self._channel.send(Configured(number, ok=False, problem=problem))
        if self._app is None and not self._finished.done():
            self._finished.set_result(1)

    def _answer_pulse(self, number: int) -> None:
        ready = self._app is not None and self._draining is None and self._app.ready
        self._channel.send(Pulse(number, ready))

    async def _drain(self, deadline: float) -> None:
        if self._app is not None:
            await self._drain_app(self._app, deadline)
        if not self._finished.done():
            self._finished.set_result(0)

    async def _drain_app(self, app: App, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline + OVERTIME):
                await app.drain(deadline)
        except TimeoutError:
            print(f"the app did not end within {deadline + OVERTIME:.1f} s of draining", file=sys.stderr)

    async def _close(self) -> None:
        if self._app is not None:
            await self._app.close()
        if self._instruments is not None:
            self._instruments.close()
        self._tables.close()
        await self._channel.close()


async def serve(listen_fd: int, arena_fd: int, channel_fd: int, tables_fd: int, build: Build) -> int:
    """Runs a worker over inherited descriptors; gives the exit status."""
    loop = asyncio.get_running_loop()
    listener = socket.socket(fileno=listen_fd)
    listener.setblocking(False)
    channel = await open_worker_end(socket.socket(fileno=channel_fd))
    tables = socket.socket(fileno=tables_fd)
    tables.setblocking(False)
    worker = Worker(channel, listener, arena_fd, tables, build, loop)
    loop.add_signal_handler(signal.SIGTERM, worker.on_terminate)
    return await worker.run()


def find_build(path: str) -> Build:
    """The callable at `module:name`. Raises ImportError or AttributeError."""
    module, _, name = path.partition(":")
    build: Build = getattr(importlib.import_module(module), name)
    return build


def main(arguments: list[str] | None = None) -> int:
    """Entry point; gives the exit status."""
    parser = argparse.ArgumentParser(prog="fastpath-worker")
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--arena-fd", type=int, required=True)
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--tables-fd", type=int, required=True)
    parser.add_argument("--app", required=True)
    options = parser.parse_args(arguments)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    # Terminals and service managers send these to all processes of a service; the supervisor decides what they mean.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    build = find_build(options.app)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        descriptors = options.listen_fd, options.arena_fd, options.channel_fd, options.tables_fd
        return runner.run(serve(*descriptors, build))


if __name__ == "__main__":
    sys.exit(main())
