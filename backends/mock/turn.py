"""One request from its last byte to the last byte of its answer: plan, slot, pace, send, record.

Owns the order of things and where a fault strikes; the bytes themselves come from response, sse and answers.
Concurrency: one task per turn, cancelled by the connection when the client leaves. A turn holds its slot until its
answer ended or the client left, also while it stalls.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

from backends.mock.answers.answer import Answer
from backends.mock.control import control
from backends.mock.engine import Engine
from backends.mock.errors import RefusedError, error_body
from backends.mock.fault import NO_FAULT, Fault, How
from backends.mock.forms import parse_form
from backends.mock.outlet import EndedError, Outlet, hang_up
from backends.mock.pacing import Pace, wait_until
from backends.mock.paths import MODEL_PATHS, gemini_call, speaks_gemini
from backends.mock.record import ClosedBy, Record, mask_headers
from backends.mock.request import Common, Request, decode_body, decode_fault
from backends.mock.response import GARBAGE
from backends.mock.routes import plan_answer
from backends.mock.sender import ERROR_BODIES, Sender

Drain = Callable[[], Awaitable[None]]


class Turn:
    """One request and its answer. `run` once; `finish` once, after `run` has ended in whatever way."""

    def __init__(
        self, engine: Engine, request: Request, record: Record | None, transport: asyncio.Transport, drain: Drain
    ) -> None:
        self._engine = engine
        self._request = request
        self._transport = transport
        self._drain = drain
        self._recorded = record is not None
        self._record = record or Record(id=0, connection=0, method=request.method, path=request.path)
        self._fault = request.fault or NO_FAULT
        self._outlet: Outlet | None = None
        self._sender: Sender | None = None
        self._answer: Answer | None = None
        self._pace = Pace(engine.clock.monotonic(), 0.0, 0.0)
        self._runs = False
        self._complete = False
        self.closed_by: ClosedBy = "client"
        """Who is to blame if `run` is cancelled."""

    async def run(self) -> bool:
        """Answers the request. Returns whether the connection can be used again."""
        self._record.received = self._engine.clock.monotonic() if self._request.complete else None
        try:
            await self._serve()
        except EndedError as end:
            await _hold(end.how)
            self.closed_by = "server"
            hang_up(self._transport, end.how)
            return False
        self.closed_by = "done"
        request, fault = self._request, self._fault
        return not (request.wants_close or request.oversized or fault.close_delimited or fault.close_after)

    def finish(self) -> None:
        """Completes the record."""
        record, request = self._record, self._request
        record.sha256, record.body_length = request.sha256, request.length
        record.bytes_sent = self._outlet.sent if self._outlet else 0
        record.content = self._sender.transcript if self._sender else {}
        record.closed_by = self.closed_by
        record.fault = None if self._fault == NO_FAULT else self._fault
        if self._recorded:
            self._settle()
            self._engine.close_record(record)

    def _settle(self) -> None:
        record, answer = self._record, self._answer
        if self._runs and answer is not None and not record.stream:
            record.tokens = answer.tokens if self._complete else self._generated(answer)
        wanted = self._fault.charge
        record.charge = self._engine.price(record) if (self._runs if wanted is None else wanted) else 0

    def _generated(self, answer: Answer) -> int:
        steps = self._pace.steps_by(self._engine.clock.monotonic(), answer.steps)
        return answer.tokens * steps // max(1, answer.steps)

    async def _serve(self) -> None:
        refused = self._read_fault()
        clock, fault = self._engine.clock, self._fault
        self._outlet = Outlet(self._transport, self._drain, clock, fault)
        self._sender = sender = Sender(
            clock, self._request, self._record, self._outlet, fault, self._engine.load_report
        )
        try:
            await self._strike(self._outlet)
            if refused is not None:
                raise refused
            answer = self._plan()
        except RefusedError as error:
            await self._refuse(sender, error)
        else:
            await self._run(sender, answer)
        self._complete = True

    def _read_fault(self) -> RefusedError | None:
        """Takes model, stream flag and fault from the body; a script's fault yields to the request's own."""
        self._record.headers = mask_headers(self._request.headers)
        try:
            common = _common(self._request)
        except RefusedError as error:
            return error
        called = gemini_call(self._request.path)
        self._record.model = called[0] if called else common.model
        self._record.tag = common.tag
        self._fault = common.mock or self._fault
        return _refused_options(common, self._fault)

    async def _strike(self, outlet: Outlet) -> None:
        """The faults that leave no room for an answer."""
        fault = self._fault
        if fault.charge:
            self._count_prompt()
        if fault.die is not None:
            raise EndedError(fault.how)
        if fault.garbage or fault.raw is not None:
            await self._wait_first()
            await outlet.write(GARBAGE if fault.raw is None else fault.raw)
            raise EndedError(fault.how)
        if fault.status is not None:
            raise _scripted_error(fault, fault.status)

    def _count_prompt(self) -> None:
        try:
            self._record.prompt_tokens = self._plan().prompt_tokens
        except RefusedError:
            self._record.prompt_tokens = 0  # nothing to charge for a request no engine would have run

    async def _wait_first(self) -> None:
        await wait_until(self._engine.clock, self._pace.start + (self._fault.ttft or 0.0))

    def _plan(self) -> Answer:
        request, engine = self._request, self._engine
        if request.oversized:
            raise RefusedError(413, f"The body is longer than {engine.options.body_limit} bytes.", code="too_large")
        if request.path.startswith(MODEL_PATHS):
            _authorize(request, engine.options.api_key)
        return control(engine, request) or plan_answer(engine.context(self._record, self._fault), request)

    async def _refuse(self, sender: Sender, error: RefusedError) -> None:
        await self._wait_first()
        kind = self._fault.error_body if self._fault.status is not None else "json"
        content_type, body = ERROR_BODIES.get(kind, ("application/json", error_body(self._request.path, error)))
        await sender.send_error(error.status, content_type, body)

    async def _run(self, sender: Sender, answer: Answer) -> None:
        if self._request.method != "POST" or not self._recorded:
            await sender.send_plain(answer.body(0), answer.content_type, self._pace.start)
            return
        slots = self._engine.slots
        waited = await slots.take()
        try:
            self._begin(answer, waited)
            await sender.send(answer, self._record.cached_tokens, self._pace)
        except EndedError as end:
            await _hold(end.how)  # here, so that a stalled answer keeps its slot
            raise
        finally:
            slots.give()

    def _begin(self, answer: Answer, waited: bool) -> None:
        engine, fault, record = self._engine, self._fault, self._record
        self._answer, self._runs = answer, True
        record.prompt_tokens = answer.prompt_tokens
        record.cached_tokens = engine.admit_prompt(answer.prompt)
        record.stream = (answer.streamed or fault.sse_not_json) and not fault.json_not_sse
        ttft = engine.options.ttft if fault.ttft is None else fault.ttft
        rate = engine.options.rate if fault.rate is None else fault.rate
        start = engine.clock.monotonic() if waited else self._pace.start
        fresh = 1.0 - record.cached_tokens / record.prompt_tokens
        self._pace = Pace(start, ttft * fresh, 0.0 if fault.firehose else rate)


async def _hold(how: How) -> None:
    """For a stall: waits until the client leaves, which cancels the turn."""
    if how == "stall":
        await asyncio.get_running_loop().create_future()


def _common(request: Request) -> Common:
    if request.oversized or not request.body:
        return Common()
    if request.header("content-type").lower().startswith("multipart/"):
        form = parse_form(request.header("content-type"), bytes(request.body))
        return Common(model=form.field("model") or None, mock=decode_fault(form.field("mock")))
    return decode_body(request.body, Common)


def _refused_options(common: Common, fault: Fault) -> RefusedError | None:
    if not fault.refuse_stream_options or common.stream_options is None:
        return None
    message = "Unrecognized request argument supplied: stream_options"
    return RefusedError(400, message, param="stream_options", code="unsupported_parameter")


def _scripted_error(fault: Fault, status: int) -> RefusedError:
    message = f"The mock was told to answer {status}."
    return RefusedError(status, message, code=fault.error_code)


def _authorize(request: Request, key: str | None) -> None:
    if key is None:
        return
    if speaks_gemini(request.path):
        _authorize_google(request, key)
        return
    bearer = request.header("authorization").removeprefix("Bearer ")
    given = bearer or request.header("x-api-key") or request.header("api-key")
    if not hmac.compare_digest(given.encode("latin-1"), key.encode()):
        raise RefusedError(401, "Incorrect API key provided.", code="invalid_api_key")


def _authorize_google(request: Request, key: str) -> None:
    """As the Gemini API: a wrong key is a bad request there."""
    given = request.header("x-goog-api-key")
    if not given:
        message = "Method doesn't allow unregistered callers (callers without established identity)."
        raise RefusedError(403, message)
    if not hmac.compare_digest(given.encode("latin-1"), key.encode()):
        raise RefusedError(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
