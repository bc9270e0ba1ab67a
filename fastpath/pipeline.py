"""The way of a request through the gateway, on one screen.

Each stage is one function in the room named for it; it reads and writes the RequestContext or raises a GatewayError.
Everything before the relay is synchronous: from the last byte of a request to its first byte upstream nothing waits.
"""

from collections.abc import Callable

from _native.door import Exchange
from backends.dialects.gist import Gists
from fastpath import errors
from fastpath.account.settle import settle
from fastpath.context import RequestContext
from fastpath.endpoints import local
from fastpath.endpoints.decode import check_head, decode
from fastpath.endpoints.paths import ApiPath, find
from fastpath.endpoints.upload import Upload
from fastpath.errors import GatewayError, Header
from fastpath.explain.stage import Inquiry
from fastpath.idempotency.caller import HEADER as IDEMPOTENCY_KEY
from fastpath.idempotency.stage import Keyed
from fastpath.identity.client import ClientAddress
from fastpath.identity.known import Acquaintances
from fastpath.identity.recall import hold_to, recheck
from fastpath.identity.stage import identify
from fastpath.limits.stage import limit
from fastpath.policy.stage import govern
from fastpath.record import DecisionRecord
from fastpath.relay.delivery import CallMaker, Delivery, make_call
from fastpath.route.stage import route
from fastpath.runtime import Runtime
from fastpath.snapshot import Snapshot


class Pipeline:
    """Takes exchanges from a door. `publish` replaces what it decides by; running requests keep what they had."""

    def __init__(self, runtime: Runtime, snapshot: Snapshot, report: Callable[[BaseException], None]) -> None:
        self._runtime = runtime
        self._report = report
        self._settled = self._settle
        self._gists = Gists()
        self._acquaintances = Acquaintances()
        self.publish(snapshot)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = self._runtime.present = snapshot
        self._client = ClientAddress(snapshot.settings.listen.trusted_proxies)

    def begin(self, exchange: Exchange) -> None:
        """The head of a request is here."""
        ctx = self._open(exchange)
        try:
            self._admit(ctx)
        except Exception as error:
            self.fail(ctx, error)

    def _admit(self, ctx: RequestContext) -> None:
        path = self._match(ctx)
        if not path.is_open:
            identify(ctx)
            if ctx.key is not None:
                ctx.known = self._acquaintances.of(ctx.key)
        if path.has_body:
            check_head(ctx, path)
            self._read(ctx, path)
        elif path.body == "lookup":
            Inquiry(ctx, self, self._runtime).begin()
        else:
            self._answer(ctx, self._reply_of(ctx, path))

    def proceed(self, ctx: RequestContext, body: bytes) -> None:
        """The body is here too: decode, route, relay."""
        ctx.read_at = self._runtime.clock.monotonic()
        ctx.record.bytes_in = len(body)
        try:
            if self._runtime.marks is not None:
                self._runtime.marks.begin(ctx, body)
            if len(body) > ctx.reserved:  # a chunked body, whose size nobody declared
                self.reserve(ctx, len(body) - ctx.reserved)
            model = decode(ctx, body, self._gists)
            if IDEMPOTENCY_KEY in ctx.exchange.fields and self._is_keyed(ctx) and self._stops(ctx, model):
                return
            self.dispatch(ctx, model, make_call)
        except Exception as error:
            self.fail(ctx, error)

    def dispatch(self, ctx: RequestContext, model: str, call: CallMaker) -> Delivery:
        """Route, govern, limit and relay; the delivery settles. `call` makes the request of each attempt."""
        route(ctx, model)
        if ctx.snapshot is not self.snapshot:
            recheck(ctx, self.snapshot)
        if ctx.snapshot.rulebook is not None:
            govern(ctx, ctx.snapshot.rulebook, ctx.route, ctx.key)
        assert ctx.route is not None
        decisions = self._runtime.decisions
        if decisions is not None and not decisions.admits(ctx):
            raise errors.unrecordable()
        if ctx.snapshot.desk is not None or ctx.route.tariff is not None:
            limit(ctx, self._runtime)
        ctx.running = self._runtime.enter(ctx.route.name)
        self._runtime.retries.request()
        delivery = Delivery.__new__(Delivery)
        delivery.prepare(ctx, self._runtime, call, self._settled)
        if ctx.snapshot is not self.snapshot:
            hold_to(delivery, self.snapshot)
        delivery.start()
        if decisions is not None:
            decisions.note(ctx)
        return delivery

    def _is_keyed(self, ctx: RequestContext) -> bool:
        """Whether its idempotency key means something: it is known whose it is."""
        enabled = ctx.snapshot.settings.idempotency.enabled
        return enabled and ctx.key is not None and self._runtime.idempotency is not None

    def _stops(self, ctx: RequestContext, model: str) -> bool:
        return Keyed(ctx, model, self, self._runtime).stops()

    def now(self) -> float:
        return self._runtime.clock.monotonic()

    # -- steps

    def _reply_of(self, ctx: RequestContext, path: ApiPath) -> bytes:
        """What the gateway answers itself."""
        if path.template != "/readyz":
            return local.ANSWERS[path.template](ctx)
        if self._runtime.draining:
            raise errors.overloaded("This worker is draining.")
        return local.readiness(ctx, self._runtime.degraded)

    def _open(self, exchange: Exchange) -> RequestContext:
        label = exchange.fields.get(b"x-request-id")
        record = DecisionRecord.__new__(DecisionRecord)
        record.prepare(
            self._runtime.ids.next(),
            self._runtime.clock.now(),
            exchange.method,
            exchange.path[:256],
            self._client.of(exchange),
            label[:128].decode("latin-1") if label is not None else None,
        )
        ctx = RequestContext.__new__(RequestContext)
        ctx.prepare(exchange, record, self.snapshot, self._runtime.clock.monotonic())
        return ctx

    def _match(self, ctx: RequestContext) -> ApiPath:
        path = find(ctx.exchange.path)
        if path is None:
            raise errors.unknown_path(ctx.exchange.path)
        ctx.path = path
        if ctx.exchange.method != path.method:
            raise errors.wrong_method(ctx.exchange.method, path.method)
        return path

    def _read(self, ctx: RequestContext, path: ApiPath) -> None:
        snapshot = ctx.snapshot
        limit = snapshot.upload_body if path.is_upload else snapshot.json_body
        patience = snapshot.client_body
        declared = ctx.exchange.declared_length
        if declared > limit:
            raise errors.too_large(limit)
        self.reserve(ctx, 0 if path.is_form else declared)  # an upload reserves what it holds
        if path.is_form:
            upload = Upload(ctx, self, limit)
            upload.source = ctx.exchange.read_pieces(limit, patience, upload)
            return
        taker = WholeBody.__new__(WholeBody)
        taker.prepare(self, ctx)
        ctx.exchange.read(limit, patience, taker)

    def reserve(self, ctx: RequestContext, size: int) -> None:
        """Counts a body in the memory budget until the request is settled. Raises 503 when there is no room."""
        if not self._runtime.budget.admits(size) or not self._runtime.budget.reserve(size):
            raise errors.overloaded("The gateway is short of memory for request bodies. Try again shortly.")
        ctx.reserved += size

    def _answer(self, ctx: RequestContext, body: bytes) -> None:
        ctx.record.status, ctx.record.outcome, ctx.record.bytes_out = 200, "complete", len(body)
        self._settle(ctx)
        ctx.exchange.reply(200, [errors.JSON_TYPE, *ctx.reply_headers], body)

    def refuse(self, ctx: RequestContext, error: GatewayError | None) -> None:
        """Ends a request before the relay. None: its body broke off, so that the caller is most likely gone."""
        if ctx.settled:
            return
        ctx.record.status = 499 if error is None else error.status
        ctx.record.outcome = "client_left" if error is None else "refused"
        if error is None:
            self._runtime.metrics.count("ai_inference_client_disconnects_total", ("reading",))
            # A door may not know a caller that left from one whose body is malformed: whoever is there gets an answer.
            error = errors.broken_body()
        else:
            ctx.record.error = error.code
        self._settle(ctx)
        headers = [errors.JSON_TYPE, *ctx.reply_headers, *error.headers]
        ctx.exchange.reply(error.status, headers, errors.shape(error, ctx.dialect, ctx.record.id))

    def malformed(self, error: GatewayError, peer: str) -> tuple[list[Header], bytes]:
        """Records bytes that never became a request, and gives the answer to them."""
        ids, clock = self._runtime.ids, self._runtime.clock
        record = DecisionRecord(ids.next(), clock.now(), "", "", peer)
        record.status = error.status
        record.outcome, record.error = "refused", error.code
        self._runtime.series.settled(record, None, None)
        self._runtime.records.put(record)
        headers = [errors.JSON_TYPE, (b"x-request-id", record.id.encode()), *error.headers]
        return headers, errors.shape(error, "chat", record.id)

    def shed(self, callers: list[tuple[str, str]]) -> None:
        """Records requests that the door turned away unread, each (id, client): more came than can be served."""
        now = self._runtime.clock.now()
        for request_id, client in callers:
            record = DecisionRecord(request_id, now, "", "", client)
            record.status, record.outcome, record.error = 503, "refused", "overloaded"
            self._runtime.records.put(record)
        self._runtime.series.shed(len(callers))

    def fail(self, ctx: RequestContext, error: Exception) -> None:
        """What a stage raised becomes the caller's answer."""
        if isinstance(error, GatewayError):
            self.refuse(ctx, error)
            return
        self._report(error)
        self.refuse(ctx, errors.internal())

    def _settle(self, ctx: RequestContext) -> None:
        settle(ctx, self._runtime)


class WholeBody:
    """Waits for the body of one JSON request. A BodyTaker."""

    def prepare(self, pipeline: Pipeline, ctx: RequestContext) -> None:
        """In place of `__init__`: called from C it needs no look at its arguments."""
        self._pipeline = pipeline
        self._ctx = ctx

    def on_body(self, body: bytes) -> None:
        self._pipeline.proceed(self._ctx, body)

    def on_refused(self, error: GatewayError | None) -> None:
        self._pipeline.refuse(self._ctx, error)
