"""What would be decided for a request: its way through the pipeline up to the first byte that would leave.

The stages are the real ones; only both ends are not there: a caller whose answer is kept, and backends that send
nothing. Load, and who is out, is as a running gateway says (`fastpath.route.live`), else as at a start; limits are as
at a start always. Owns both ends. Does not own what is printed (`command`). One loop; opens no socket and writes no
file.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from _native.clock import SystemClock
from _native.door import Exchange
from _native.relay import Sink, Source
from backends.call import Call
from fastpath.account.preflight import check_prices
from fastpath.context import RequestContext
from fastpath.explain.recorder import trace_of
from fastpath.identity.keys import KeyTable
from fastpath.money.catalog import open_catalog
from fastpath.observe.access_log import NoRecords
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.metrics import Metrics
from fastpath.pipeline import Pipeline
from fastpath.relay.delivery import Delivery
from fastpath.route.live import LiveEndpoint, write_live
from fastpath.route.vitals import Ward
from fastpath.runtime import Runtime
from fastpath.settings import Key, Settings
from fastpath.settings.token import KeyHasher, new_token
from fastpath.snapshot import Snapshot, compile_snapshot
from scheduler.choice import Choice
from scheduler.endpoint import EndpointTable
from scheduler.retry import RetryBudget

#: Of a caller that is named by its tenant alone.
STAND_IN: Final = "rehearsal"


class RehearsalError(Exception):
    """Nothing could be rehearsed. The message says who must do what."""


class Question(msgspec.Struct, frozen=True):
    """A request. headers: lower-case names. key, tenant: as whose it counts; None of either: as nobody's."""

    body: bytes
    path: str
    headers: Mapping[str, str] = {}
    key: str | None = None
    tenant: str | None = None


class Rehearsed(msgspec.Struct, frozen=True):
    """What would become of it. endpoint None: nothing would be sent, and this is what the caller would read."""

    model: str
    endpoint: str | None
    tier: str | None
    data_class: str | None
    policy: str | None
    choices: tuple[Choice, ...]
    status: int = 0
    answer: bytes = b""


class Absent(Exchange):
    """A caller that sends one body at once and keeps what it is answered."""

    def __init__(self, question: Question, credential: str | None) -> None:
        fields = {name.encode(): value.encode() for name, value in question.headers.items()}
        fields[b"content-type"] = b"application/json"
        if credential is not None:
            fields[b"authorization"] = b"Bearer " + credential.encode()
        self.method, self.path, self.query, self.peer = "POST", question.path, b"", "127.0.0.1"
        self.fields = fields
        self.repeated = False
        self.declared_length = len(question.body)
        self.on_left = None
        self.body = question.body
        self.status = 0
        self.answer = b""

    @property
    def buffered(self) -> int:
        return 0

    @property
    def stalled_since(self) -> float | None:
        return None

    def values(self, name: bytes) -> list[bytes]:
        return [self.fields[name]] if name in self.fields else []

    def read(self, limit: int, seconds: float, taker: object) -> None:
        taker.on_body(self.body)  # type: ignore[attr-defined]  # a BodyTaker, which the kernel does not name

    def reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.status, self.answer = status, body


class Silent:
    """A backend that sends nothing and never answers."""

    def start(self, call: Call, sink: Sink) -> Source | None:
        """Keeps the call to itself."""
        return None

    async def close(self) -> None:
        """Has nothing open."""


async def rehearse(settings: Settings, question: Question, live: list[LiveEndpoint] | None = None) -> Rehearsed:
    """Decides as a gateway with these settings would. live: what one that runs says of its endpoints. Raises
    RehearsalError or SettingsError."""
    clock = SystemClock()
    check_prices(settings, clock.now())
    keys, credential = _credential(settings, question, clock)
    caller = Absent(question, credential)
    runtime = _runtime(settings, clock)
    silent = Silent()
    snapshot = compile_snapshot(
        settings,
        1,
        runtime.table,
        lambda spec: silent,  # type: ignore[arg-type,return-value]  # it never has a Source to give
        keys,
        int(clock.now()),
        open_catalog(settings.prices),
        None,
        arena=runtime.metrics.arena,
    )
    Ward(runtime.metrics.arena, runtime.health).take_in(snapshot, clock.monotonic())
    if live is not None:
        _take_in(live, snapshot, runtime)
    bugs: list[BaseException] = []
    Pipeline(runtime, snapshot, bugs.append).begin(caller)
    if bugs:
        raise bugs[0]
    return _outcome(caller, list(runtime.deliveries))


def _take_in(live: list[LiveEndpoint], snapshot: Snapshot, runtime: Runtime) -> None:
    now = runtime.clock.monotonic()
    if not write_live(live, snapshot, runtime.table, now):
        raise RehearsalError("the gateway has none of the endpoints of this file: name the file that it runs by")
    runtime.health.look(now)


def _credential(settings: Settings, question: Question, clock: SystemClock) -> tuple[KeyTable | None, str | None]:
    """A table that knows the caller alone, by a credential made for it."""
    key = _key(settings, question)
    if key is None:
        return None, None
    hasher, token = KeyHasher(secrets.token_bytes(32)), new_token().reveal()
    return KeyTable([msgspec.structs.replace(key, hash=hasher.hash_text(token))], hasher, clock.now), token


def _key(settings: Settings, question: Question) -> Key | None:
    if question.key is not None:
        found = next((key for key in settings.keys if key.name == question.key), None)
        if found is None:
            raise RehearsalError(f"there is no key {question.key} in the settings file: name one of it, or a tenant")
        return found
    if question.tenant is None:
        return None
    if all(tenant.name != question.tenant for tenant in settings.tenants):
        raise RehearsalError(f"there is no tenant {question.tenant} in the settings file")
    return Key(name=STAND_IN, hash="", tenant=question.tenant)


def _runtime(settings: Settings, clock: SystemClock) -> Runtime:
    retries = RetryBudget(settings.retries.budget_ratio, settings.retries.budget_min, clock)
    loop, budget = asyncio.get_running_loop(), MemoryBudget(settings.limits.memory)
    return Runtime(loop, clock, Metrics(), NoRecords(), budget, EndpointTable(), retries, lambda: 0.0)


def _outcome(caller: Absent, deliveries: list[Delivery]) -> Rehearsed:
    if caller.status or not deliveries:
        return Rehearsed("", None, None, None, None, (), caller.status, caller.answer)
    ctx: RequestContext = deliveries[0].ctx
    record = ctx.record
    return Rehearsed(record.model or "", record.endpoint, record.tier, record.data_class, record.policy, trace_of(ctx))
