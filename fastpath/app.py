"""The composition root: settings in, a serving gateway out. The only place that knows every room.

`App` is one worker's gateway on the running loop; the worker process and `Gateway` (embedding) both build it through
`build`. Reload compiles a whole new snapshot before the old one is replaced.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import msgspec

from _native.transport import Poller
from backends.base import Backend, EndpointSpec
from backends.dialects.likeness import LikeBackend
from backends.dialects.spoken import dialect_of
from backends.dialects.translate import TranslatingBackend
from backends.http.client import HttpBackend
from backends.http.resolver import AresQuery, Resolver
from fastpath.account.books import Books
from fastpath.account.notices import Notices
from fastpath.door.granian import GranianDoor
from fastpath.door.native import NativeDoor
from fastpath.guard.egress import VIOLATIONS
from fastpath.idempotency.store import RESULTS, Store
from fastpath.identity.keys import KeyTable
from fastpath.identity.published import Published, PublishedKeys
from fastpath.identity.recall import Recall, Review
from fastpath.limits.book import resolved_keys
from fastpath.limits.capacity import ArenaCapacity, CapacityWatch
from fastpath.limits.desk import Desk
from fastpath.limits.thresholds import Crossing
from fastpath.money.catalog import Catalog, open_catalog
from fastpath.money.table import PriceError
from fastpath.observe.access_log import NoRecords
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.lag import Tick
from fastpath.observe.metrics import Metrics
from fastpath.pipeline import Pipeline
from fastpath.poison.marks import Marks
from fastpath.policy.question import CLASSES
from fastpath.process.listen import open_for_callers, open_in_worker, url_of
from fastpath.process.watched import plan_of
from fastpath.relay.fields import WANTED
from fastpath.route.extensions import UnknownExtension
from fastpath.route.facts import SharedFacts
from fastpath.route.live import LiveEndpoint, read_live
from fastpath.route.vitals import Ward
from fastpath.runtime import Records, Runtime
from fastpath.settings import Settings, state_folder
from fastpath.settings.pepper import PepperError, make_pepper, read_pepper
from fastpath.settings.problem import Problem, SettingsError
from fastpath.settings.registry import join_models
from fastpath.settings.token import KeyHasher
from fastpath.snapshot import Snapshot, compile_snapshot
from scheduler.clock import Clock, SystemClock
from scheduler.endpoint import EndpointTable
from scheduler.retry import RetryBudget

if TYPE_CHECKING:
    from backends.watch.report import Report
    from fastpath.explain.recorder import Recorder
    from fastpath.identity.callers import Callers
    from fastpath.identity.token.issuers import Issuers
    from fastpath.outbox.writer import OutboxWriter
    from fastpath.process.watching import Watching

_log = logging.getLogger("fastpath.budgets")
_tokens_log = logging.getLogger("fastpath.tokens")

#: Seconds between two sweeps that are 0.1 apart, after which the loop or its process must have stood still.
STOOD_STILL = 0.3
#: Seconds that a start waits for identity providers' keys: without them tokens are answered 503, keys are served.
FIRST_KEYS = 3.0


class App:
    """One worker's gateway. All methods run on its loop."""

    def __init__(
        self, settings: Settings, metrics: Metrics, records: Records, budget: MemoryBudget, tick: Tick, clock: Clock
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._tick = tick
        retries = RetryBudget(settings.retries.budget_ratio, settings.retries.budget_min, clock)
        self._runtime = Runtime(
            self._loop, clock, metrics, records, budget, EndpointTable(), retries, random.SystemRandom().random
        )
        self._backends: dict[EndpointSpec, HttpBackend] = {}
        self._retired: WeakSet[HttpBackend] = WeakSet()  # those that requests under an old snapshot may still use
        self._resolver = _make_resolver(settings, clock)
        self._poller = Poller(self._loop)
        self._swept = clock.monotonic()
        self._let_off = False
        self._settings = settings
        self._recall = Recall(self._runtime)
        self._ward = Ward(metrics.arena, self._runtime.health)
        self._listener: socket.socket | None = None
        self._issuers: Issuers | None = None
        self._outbox = _open_outbox(settings, clock)
        self._notices: Notices | None = None
        if self._outbox is not None:
            self._runtime.books = Books(self._outbox.appender)
            self._notices = Notices(self._outbox.put, clock)
            _publish_outbox(metrics, self._outbox)
        self._catalog: Catalog | None = None
        self._runtime.decisions = _open_recorder(settings, clock, metrics)
        state = state_folder(settings.state_dir, os.environ, os.geteuid())
        self._runtime.idempotency = Store(state, self._loop, clock, self._count_key)
        for data_class in CLASSES:
            metrics.counter(VIOLATIONS, (data_class, "L2"))
        for result in RESULTS:  # shown as 0 before the first, or an alert would miss that one
            metrics.counter("fastpath_idempotency_total", (result,))
        self._facts = SharedFacts(metrics.arena, self._runtime.table, clock)
        self._pipeline = Pipeline(self._runtime, self._compile(settings, None), self._report)
        self._facts.use(self._pipeline.snapshot)
        self._recall.renew(Review(self._pipeline.snapshot))
        self._door = _make_door(settings, self._pipeline, clock, self._poller)
        metrics.read(
            "ai_inference_in_flight",
            lambda: {(model,): running.count for model, running in self._runtime.running.items()},
        )

    @property
    def ready(self) -> bool:
        return not self._runtime.draining

    async def start(self, listener: socket.socket) -> None:
        self._listener = listener
        if self._issuers is not None:
            await self._issuers.begin(FIRST_KEYS)
        await self._door.start(listener, self._settings.timeouts.client_stall)
        self._tick.every(self._facts.tick)
        self._tick.every(self._look)
        self._tick.every(self._sweep)
        if self._notices is not None:
            self._tick.every(self._notices.flush)

    def reload(self, settings: Settings, published: Published | None = None) -> None:
        """Swaps settings, and what was published, at once. Running requests keep the snapshot they were admitted under
        and end where they would not be admitted any more."""
        if settings.dns != self._settings.dns:
            query = AresQuery(settings.dns.nameservers)
            self._resolver.configure(query, settings.dns.min_ttl, settings.dns.max_ttl)
        snapshot = self._compile(settings, self._pipeline.snapshot, published)
        before = self._pipeline.snapshot.keys
        self._settings = settings
        if self._runtime.decisions is not None:
            self._runtime.decisions.use(snapshot.settings)
        self._pipeline.publish(snapshot)
        self._facts.use(snapshot)
        if before is not None:
            before.retire()
        for spec in [spec for spec in self._backends if spec not in snapshot.specs]:
            backend = self._backends.pop(spec)
            backend.pool.retire()
            self._retired.add(backend)
        self._recall.renew(Review(snapshot))

    def mark_requests(self) -> None:
        """Begins to mark what runs, for a supervisor that outlives this process: `fastpath.poison`."""
        self._runtime.marks = Marks(self._runtime.metrics.arena, self._clock)
        self._tick.every(self._runtime.marks.look)

    def note_condition(self, *, degraded: bool) -> None:
        """Whether something is wrong on this node while traffic goes on: callers' /readyz says so."""
        self._runtime.degraded = degraded

    async def drain(self, deadline: float) -> None:
        """Stops accepting; returns when all requests are done, after `deadline` seconds by ending them in-band."""
        self._runtime.draining = True
        self._door.stop_accepting()
        if self._listener is not None:
            self._listener.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while self._runtime.deliveries or self._door.expecting:
                    await asyncio.sleep(0.02)
        for delivery in list(self._runtime.deliveries):
            delivery.end_now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._door.stopped()

    async def close(self) -> None:
        self._door.close()
        for backend in [*self._backends.values(), *self._retired]:
            await backend.close()
        if self._issuers is not None:
            await self._issuers.close()
        await self._resolver.close()
        await asyncio.sleep(0)  # whoever was cut is told in the next turn, and settles
        if self._runtime.idempotency is not None:
            await self._runtime.idempotency.close()
        if self._outbox is not None:
            self._outbox.close()
        if self._runtime.decisions is not None:
            self._runtime.decisions.archive.close()
        self._poller.close()

    def debug_requests(self) -> list[dict[str, Any]]:
        """Requests in flight: id, phase, age_ms, model, endpoint, buffered bytes. Facts only, no content."""
        now = self._clock.monotonic()
        return [
            {
                "id": delivery.ctx.record.id,
                "phase": delivery.phase,
                "age_ms": round((now - delivery.ctx.arrived) * 1e3, 1),
                "model": delivery.ctx.record.model,
                "endpoint": delivery.ctx.record.endpoint,
                "buffered": delivery.ctx.exchange.buffered + delivery.unfinished + delivery.held,
            }
            for delivery in self._runtime.deliveries
        ]

    def live(self) -> list[LiveEndpoint]:
        """What this worker knows of its endpoints now: load and health, nothing of requests."""
        return read_live(self._pipeline.snapshot, self._runtime.table, self._clock.monotonic())

    def _compile(self, settings: Settings, running: Snapshot | None, published: Published | None = None) -> Snapshot:
        version = running.version + 1 if running is not None else 1
        created = int(self._clock.now())
        keys = make_key_table(settings, published, self._clock)
        joined = join_published(settings, published)
        arena = self._runtime.metrics.arena
        desk = Desk.open(joined, arena, self._note_crossing, ArenaCapacity(arena))
        table, catalog = self._runtime.table, read_catalog(settings, self._catalog)
        same = settings is self._settings and catalog is self._catalog
        same = same and running is not None and joined.models == running.settings.models
        self._catalog = catalog
        tokens = self._open_tokens(joined, version)
        try:
            snapshot = compile_snapshot(
                joined, version, table, self._backend_for, keys, created, catalog, desk, running, tokens,
                arena=arena, same_models=same,
            )  # fmt: skip
        except UnknownExtension as error:
            raise SettingsError([Problem(0, 0, "routing", str(error))], "settings") from error
        self._ward.take_in(snapshot, self._clock.monotonic())
        return snapshot

    def _count_key(self, result: str) -> None:
        self._runtime.metrics.count("fastpath_idempotency_total", (result,))

    def _open_tokens(self, settings: Settings, version: int) -> "Callers | None":
        """Whom tokens stand for, None where no issuer is believed. Raises SettingsError."""
        if not settings.issuers and self._issuers is None:
            return None
        from fastpath.identity.callers import Callers  # 13 MB, for those who configured issuers
        from fastpath.identity.token.issuers import Issuers

        if self._issuers is None:
            clock, say = self._clock, _tokens_log.warning
            self._issuers = Issuers(clock.monotonic, clock.now, self._resolver.addresses, lambda line: say("%s", line))
        try:
            self._issuers.use(settings.issuers)
        except ValueError as error:
            raise SettingsError([Problem(0, 0, "issuers", str(error))], "settings") from error
        return Callers(self._issuers, settings, version, self._count_refusal) if settings.issuers else None

    def _count_refusal(self, issuer: str, reason: str) -> None:
        self._runtime.metrics.count("fastpath_token_refusals_total", (issuer or "unknown", reason))

    def _note_crossing(self, crossing: Crossing) -> None:
        if self._notices is not None:
            self._notices.note(crossing)
        if not crossing.first:
            return
        self._runtime.metrics.count(
            "fastpath_budget_thresholds_total", (crossing.scope, str(crossing.percent), crossing.action)
        )
        _log.warning(
            "budget %s of %s %s: %d %% used, action %s",
            crossing.budget, crossing.scope, "/".join(crossing.owner), crossing.percent, crossing.action,
        )  # fmt: skip

    def _backend_for(self, spec: EndpointSpec) -> Backend:
        backend = self._backends.get(spec)
        if backend is None:
            backend = HttpBackend(spec, self._resolver, self._clock, self._poller, wanted=WANTED)
            self._backends[spec] = backend
        if spec.lacks:
            return LikeBackend(backend, spec.lacks)
        dialect = dialect_of(spec)
        return backend if dialect is None else TranslatingBackend(backend, dialect, self._runtime.budget)

    def _look(self) -> None:
        self._runtime.health.look(self._clock.monotonic())

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        stood_still, self._swept = now - self._swept > STOOD_STILL, now
        # What came while nobody looked is read first. Once: a loop that is always late still has deadlines.
        self._let_off = stood_still and not self._let_off
        if self._let_off:
            return
        for backend in [*self._backends.values(), *self._retired]:
            backend.sweep(now)
        relayed = 0
        for delivery in list(self._runtime.deliveries):
            delivery.sweep(now)
            relayed += delivery.ctx.exchange.buffered + delivery.unfinished
        self._runtime.budget.note_relayed(relayed)
        self._recall.sweep()
        self._door.sweep(now)

    def _report(self, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": "a request failed inside the gateway", "exception": error})


def _open_outbox(settings: Settings, clock: Clock) -> "OutboxWriter | None":
    """Where a control process reads what requests cost; None where there is none."""
    if settings.control is None:
        return None
    from fastpath.outbox.writer import OutboxWriter

    return OutboxWriter(state_folder(settings.state_dir, os.environ, os.geteuid()) / "outbox", clock)


def _open_recorder(settings: Settings, clock: Clock, metrics: Metrics) -> "Recorder | None":
    """Who keeps records of decisions; None where nobody could ask for one. Raises OutboxError or PepperError."""
    if settings.control is None and not settings.decisions.share and not any(key.insight for key in settings.keys):
        return None
    from fastpath.explain.archive import FOLDER, Archive
    from fastpath.explain.fingerprint import Fingerprints
    from fastpath.explain.recorder import Recorder

    state = state_folder(settings.state_dir, os.environ, os.geteuid())
    fingerprints = Fingerprints(make_pepper(state))
    archive = Archive(state / FOLDER, settings.decisions, clock, settings.workers)
    metrics.read("fastpath_decisions_kept_total", lambda: {(): archive.kept})
    metrics.read("fastpath_decisions_dropped_total", lambda: {(): archive.dropped})
    metrics.read("fastpath_decisions_evicted_segments_total", lambda: {(): archive.evicted})
    return Recorder(archive, fingerprints, settings)


def _publish_outbox(metrics: Metrics, outbox: "OutboxWriter") -> None:
    metrics.read("fastpath_outbox_records_total", lambda: {(): outbox.appended})
    metrics.read("fastpath_outbox_refused_total", lambda: {(): outbox.refused})


def build(
    settings: Settings, metrics: Metrics, records: Records, budget: MemoryBudget, tick: Tick, clock: Clock
) -> App:
    """What the worker process calls."""
    app = App(settings, metrics, records, budget, tick, clock)
    app.mark_requests()
    return app


def make_key_table(settings: Settings, published: Published | None, clock: Clock) -> KeyTable | None:
    """The keys there are, None when there are none. Raises SettingsError when they cannot be checked here."""
    if not settings.keys and published is None:
        return None
    folder = state_folder(settings.state_dir, os.environ, os.geteuid())
    try:
        pepper = read_pepper(folder)
        if pepper is None:
            raise ValueError(f"{folder} holds no pepper: run `fastpath keys new` there first")
        keys = resolved_keys(settings)
        if published is None:
            return KeyTable(keys, KeyHasher(pepper), clock.now)
        taken = {tenant.name for tenant in settings.tenants}
        return PublishedKeys(keys, KeyHasher(pepper), clock.now, published, taken)
    except (PepperError, ValueError) as error:
        raise SettingsError([Problem(0, 0, "keys", str(error))], "settings") from error


def read_catalog(settings: Settings, known: Catalog | None = None) -> Catalog:
    """The price list of the settings. known: one that was read before. Raises SettingsError."""
    try:
        return open_catalog(settings.prices, known)
    except PriceError as error:
        raise SettingsError([Problem(0, 0, "prices", text) for text in error.problems], "settings") from error


def join_published(settings: Settings, published: Published | None) -> Settings:
    """The settings with the published tenants, rules and models beside those of the file."""
    if published is None:
        return settings
    taken = {tenant.name for tenant in settings.tenants}
    tenants, policies = published.tenants(taken), published.policies(taken)
    joined = msgspec.structs.replace(
        settings, tenants=(*settings.tenants, *tenants), policies=(*settings.policies, *policies)
    )
    return join_models(joined, published.roster.models)


def _make_door(settings: Settings, pipeline: Pipeline, clock: Clock, poller: Poller) -> GranianDoor | NativeDoor:
    listen = settings.listen
    if listen.choose_door(os.environ) == "native":
        return NativeDoor(pipeline.begin, pipeline.malformed, listen, clock, random.random, poller, pipeline.shed)
    return GranianDoor(pipeline.begin, listen, clock)


def _make_resolver(settings: Settings, clock: Clock) -> Resolver:
    return Resolver(AresQuery(settings.dns.nameservers), clock, settings.dns.min_ttl, settings.dns.max_ttl)


class Gateway:
    """A gateway inside your program: one worker on your own event loop.

    Use as an asynchronous context manager; `url` is the base URL for clients ("http://host:port/v1"). Port 0 in the
    settings lets the kernel choose. `records` takes finished request records (None drops them). `watch`: whether what
    the settings want watched is watched on this loop too.
    """

    def __init__(
        self,
        settings: Settings,
        records: Records | None = None,
        clock: Clock | None = None,
        *,
        watch: bool = False,
    ) -> None:
        self.settings = settings
        self._watch = watch
        self._watching: Watching | None = None
        self.metrics = Metrics()
        self.url = ""
        self._records = records if records is not None else NoRecords()
        self._clock = clock or SystemClock()
        self._stack: list[Callable[[], None]] = []
        self.app: App | None = None

    async def __aenter__(self) -> Self:
        listen = self.settings.listen
        loop = asyncio.get_running_loop()
        callers = open_for_callers(listen)
        listener = open_in_worker(callers, listen)
        listener.setblocking(False)
        self.url = url_of(listener, "http" if listen.tls is None else "https") + "/v1"
        tick = Tick(loop, self._clock, lambda lag: self.metrics.observe("fastpath_loop_lag_seconds", (), lag))
        budget = MemoryBudget(self.settings.limits.memory)
        self.app = App(self.settings, self.metrics, self._records, budget, tick, self._clock)
        await self.app.start(listener)
        tick.every(CapacityWatch(self.metrics.arena, self._clock, self.settings).look)
        tick.start()
        self._stack = [tick.stop, listener.close, callers.close]
        if self._watch:
            from fastpath.process.watching import Watching

            self._watching = Watching(self.metrics, self._clock, lambda: None)
            await self._watching.use(plan_of(self.settings))
        return self

    def endpoints(self) -> "list[Report]":
        """How the endpoints are that are watched; never for callers' eyes, as it may name addresses."""
        return self._watching.reports() if self._watching is not None else []

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.app is not None
        if self._watching is not None:
            await self._watching.close()
        await self.app.drain(self.settings.listen.drain if error is None else 0)
        await self.app.close()
        for undo in self._stack:
            undo()
