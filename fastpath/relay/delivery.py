"""From a routed request to its delivered answer: which endpoint next, what the caller is sent, how it ended.

    TRYING --open--> STREAMING --+
       |  \\--answer-------------+--> OVER   (exactly one terminal event reaches the caller)
       +--waiting to retry--+

Nothing is retried once content reached the caller; a keep-alive comment is not content. Runs on the worker's loop;
its only timer is the back-off before a retry (deadlines, comments and stalls are swept).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from _native.rates import nano_text
from _native.relay import Sink, StreamFilter
from backends.base import Cause, Moment, UpstreamError
from backends.call import Call
from backends.dialects.openai import ask_usage, rename_model, splice
from backends.dialects.usage import Usage, read_usage, usage_at
from fastpath import errors
from fastpath.account.cost import note_progress, note_stream, note_whole, sample_prompt
from fastpath.context import RequestContext
from fastpath.errors import GatewayError
from fastpath.guard.egress import EgressViolation, egress, report
from fastpath.guard.narrow import narrow
from fastpath.guard.reason import unavailable
from fastpath.policy.question import EVERY_TIER
from fastpath.policy.stage import permitted
from fastpath.relay.attempt import Attempt, AttemptOwner, BadStatus
from fastpath.relay.blame import blame
from fastpath.relay.caller import explain, lasting, stored, usage_wanted
from fastpath.relay.fields import STREAM_FIELDS, inbound, outbound
from fastpath.relay.quote import quote
from fastpath.route.asked import tokens_to_read
from fastpath.route.choose import choose
from fastpath.route.fallback import may_move, move
from scheduler.retry import backoff

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from backends.base import EndpointSpec
    from fastpath.runtime import Runtime
    from fastpath.snapshot import Target

CallMaker = Callable[["Delivery", "Target"], Call]
Settle = Callable[[RequestContext], None]

#: Seconds between two notes of how far a stream is, should this process die.
MARK_EVERY = 0.5
#: Bytes of an answer whose usage is not where it should be that are searched for it.
SEARCHED = 1 << 20
COMMENT = b": keep-alive\n\n"
BROKEN_CAUSES = {"truncated": Cause.DISCONNECTED, "malformed": Cause.BAD_ANSWER, "oversized": Cause.BAD_ANSWER}


class Delivery(AttemptOwner):
    """Delivers one request's answer. A Source to the caller's Sink: whichever attempt runs is paused and resumed."""

    def __init__(self, ctx: RequestContext, runtime: "Runtime", call: CallMaker, settle: Settle) -> None:
        self.prepare(ctx, runtime, call, settle)

    def prepare(self, ctx: RequestContext, runtime: "Runtime", call: CallMaker, settle: Settle) -> None:
        """What `__init__` does: called from C it needs no tuple of arguments (400 instructions)."""
        self.ctx = ctx
        assert self.ctx.route is not None
        assert self.ctx.path is not None
        self.response_limit = self.ctx.snapshot.response_body
        self.wants_json = self.ctx.path.json_reply
        self.streaming = self.ctx.record.stream
        self._runtime = runtime
        self._make_call = call
        self._settle = settle
        self._route = self.ctx.route
        self._timeouts = self._route.timeouts
        self._withheld = False
        self._left = self._admitted()
        self._chain = self._route.chain
        self._moves = False
        self._attempt: Attempt | None = None
        self._sink: Sink | None = None
        self._delivered = False
        self._passing = False
        self._detached = False
        self._retries = 0
        self._held = 0
        self._last_failure: UpstreamError | None = None
        self._retry_after: float | None = None
        self._backoff: TimerHandle | None = None
        self._comments = self.streaming and self.wants_json  # sound cannot carry them
        self._commented_at = self._marked_at = self.ctx.read_at
        self._asks_usage = self.streaming and self.ctx.path.asks_usage and not usage_wanted(self.ctx)

    @property
    def place(self) -> "EndpointSpec | None":
        """Where the attempt that runs was sent."""
        return self._attempt.target.spec if self._attempt is not None else None

    def keep(self, admits: "Callable[[Target], bool]", *, withheld: bool = True) -> bool:
        """Lets the attempts to come go only where this holds. withheld: for where data may be. False: none is left."""
        before, kept = self._left, tuple([target for target in self._left if admits(target)])
        self._left = self._hold_to(before, kept) if withheld else kept
        return bool(kept) or not before

    def _hold_to(self, left: "tuple[Target, ...]", admitted: "tuple[Target, ...]") -> "tuple[Target, ...]":
        """Takes places away that may not have the request's data."""
        self._withheld = self._withheld or len(admitted) < len(left)
        return admitted

    def start(self) -> None:
        """Begins the first attempt."""
        self.ctx.exchange.on_left = self.client_left
        self._runtime.deliveries.add(self)
        self._try_next()

    def fault(self, error: Exception) -> None:
        """A bug of ours, met in a step that a callback began: it ends the request instead of leaving it open."""
        self._runtime.loop.call_exception_handler({"message": "a delivery failed", "exception": error})
        self.refuse(errors.internal())

    def _try_next(self, refusal: GatewayError | None = None) -> None:
        """refusal: why nobody of this model can; another may. One that lost what it held meanwhile (`move`) goes on."""
        try:
            self._choose() if refusal is None else self._unable(refusal)
        except GatewayError as error:
            self._try_next(error)
        except Exception as error:
            self.fault(error)

    def _unable(self, error: GatewayError) -> None:
        """None of those that are left can serve the request: another model may."""
        if self._fall_back():
            self._try_next()
        elif self._last_failure is None:
            self._conclude(error)
        else:
            self._give_up()

    def _admitted(self) -> "tuple[Target, ...]":
        """Who of the route's endpoints may serve this request."""
        assert self.ctx.path is not None
        left = self._route.serving(self.ctx.path.template)
        if self.ctx.tiers != EVERY_TIER:
            left = permitted(left, self.ctx.tiers)
        label = self.ctx.label
        assert label is not None
        if label.regions is not None or self._route.reach & ~label.reach:
            left = self._hold_to(left, narrow(left, label))
        return left

    def _choose(self) -> None:
        self._backoff = None
        if self._moves or not self._left or self._runtime.health.troubled:
            self._choose_well()
            return
        target = choose(self.ctx, self._route, self._left, self._runtime)
        assert target is not None
        self._dispatch(target)

    def _choose_well(self) -> None:
        """The same where somebody is out, or another model's turn has come."""
        health, now = self._runtime.health, self._runtime.clock.monotonic()
        if self._moves or not health.any_open(self._left, now):
            while self._fall_back() and not health.any_open(self._left, now):
                pass
        target = choose(self.ctx, self._route, self._left, self._runtime) if self._left else None
        while target is not None and not health.may_send(target.vitals, now):
            target = choose(self.ctx, self._route, self._left, self._runtime)
        if target is not None:
            self._dispatch_well(target, now)
        elif self._left:
            self._rest(health.rests_for(self._left, now))
        elif self._withheld:
            self._conclude(unavailable(self.ctx, "unserved" if self._last_failure is None else "failed"))
        elif not self._route.targets:
            self._conclude(errors.no_endpoint())
        elif self._last_failure is None:
            self._conclude(errors.upstream_failed("No endpoint of this model serves this path."))
        else:
            self._give_up()

    def _fall_back(self) -> bool:
        """Goes on with the next model of the chain that may answer and has endpoints for it. False: there is none."""
        self._moves = False
        while self._may_fall_back():
            name, self._chain = self._chain[0], self._chain[1:]
            if move(self.ctx, name, self._runtime):
                assert self.ctx.route is not None
                self._route = self.ctx.route
                found = self._admitted()
                if found:
                    self._left = found
                    return True
        return False

    def _may_fall_back(self) -> bool:
        """Whether another model may answer. Not once a head went out, which would have had to name it."""
        return bool(self._chain) and self._sink is None and may_move(self.ctx)

    def _dispatch_well(self, target: "Target", now: float) -> None:
        """Sends a request that may have taken one of the places for those that find out whether it is well."""
        sent = False
        try:
            sent = self._dispatch(target)
        finally:
            if not sent:
                self._runtime.health.unsent(target.vitals, now)

    def _dispatch(self, target: "Target") -> bool:
        """Begins an attempt. False: it may not be sent there, or not be recorded, and the request is over."""
        try:
            egress(self.ctx.label, target.spec)
        except EgressViolation as violation:
            report(violation, self._runtime)
            self._conclude(unavailable(self.ctx, "unserved"))
            return False
        record = self.ctx.record
        call = self._make_call(self, target)
        attempt = Attempt.__new__(Attempt)
        attempt.prepare(self, target, self.asks_usage(target))
        self._attempt = attempt
        record.attempts += 1
        record.endpoint, record.tier = target.name, target.tier
        if self._route.tariff is not None:
            if self.ctx.account is None:
                self.ctx.account = self.ctx.snapshot.accounts.of(self.ctx.key)
            self.ctx.terms = self._route.tariff.terms(target, record.model or "", self.ctx.account, record.ts)
        if self._runtime.books is not None and not self._runtime.books.intend(self.ctx, target):
            record.attempts -= 1
            self._attempt = None
            self._conclude(errors.unrecordable())
            return False
        attempt.unread = tokens_to_read(self.ctx)
        attempt.mark = self._runtime.load.send(target.slot, attempt.unread)
        attempt.began = self._runtime.clock.monotonic()
        attempt.handle = target.backend.start(call, attempt)  # type: ignore[assignment]  # each starts an HttpCall
        return True

    def reported(self, attempt: Attempt, load: bytes) -> None:
        """How busy its endpoint says it is: 200 or 503, it knows."""
        attempt.target.heard.report(load, self._runtime.clock.monotonic())

    def attempt_failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """This attempt will not deliver (the rest of) the answer."""
        self._end_attempt(attempt)
        record, target = self.ctx.record, attempt.target
        if record.failures is None:
            record.failures = []
        record.failures.append(f"{target.name} {error.cause} {error.moment}")
        self._runtime.metrics.count("ai_inference_upstream_errors_total", (target.name, error.cause.value))
        self._last_failure = error
        if isinstance(error, BadStatus) and error.retry_after is not None:
            self._retry_after = min(error.retry_after, self._retry_after or error.retry_after)
        why, rest = blame(error)
        self._runtime.health.failed(target.vitals, why, self._caller, self._runtime.clock.monotonic(), rest)
        self._left = tuple([t for t in self._left if t is not target])
        if self._may_retry(error):
            self._retry()
        else:
            self._give_up()

    def answered(self, attempt: Attempt, body: bytes, start: int, end: int) -> None:
        """A whole answer; start, end: where in it stands what it says it cost, -1 for nowhere."""
        self._note_heard(attempt, self._runtime.clock.monotonic())
        took = self._end_attempt(attempt)
        attempt.target.heard.whole(took, attempt.began + took)
        found = usage_at(body, start, end) if start >= 0 else None
        if start < 0 and self.wants_json and len(body) <= SEARCHED:
            found = read_usage(body)
        assert self.ctx.path is not None
        if found is None or self.ctx.path.by_piece or not self._believe(found):
            note_whole(self.ctx, found, body)
        self._reply(attempt, body, "complete")

    def refused(self, attempt: Attempt, body: bytes) -> None:
        """A refusal that is the caller's to read."""
        target = attempt.target
        if target.vitals.state:  # it is asked whether it is well, and it speaks
            self._runtime.health.good(target.vitals, self._caller, self._runtime.clock.monotonic())
        if attempt.status == 400 and attempt.usage_asked and b"stream_options" in body:
            target.refuses_usage = True
            self._end_attempt(attempt)
            self._dispatch(target)
            return
        self._end_attempt(attempt)
        if self._sink is not None:
            # Only comments went out so far: the caller reads it in-band.
            self._end_in_band(quote(attempt.status, body), f"upstream_{attempt.status}")
            return
        self._reply(attempt, body, "refused")

    def asks_usage(self, target: "Target") -> bool:
        """Whether usage is asked for on the caller's behalf (and its frame kept from the caller)."""
        return self._asks_usage and not target.refuses_usage

    def hold(self, size: int) -> bool:
        """Accounts `size` more bytes of a collected answer to the worker's memory budget."""
        if not self._runtime.budget.reserve(size):
            return False
        self._held += size
        return True

    def stream_filter(self, attempt: Attempt) -> StreamFilter:
        return StreamFilter(self.ctx.dialect, attempt.usage_asked, self.ctx.snapshot.frame)

    def open_stream(self) -> Sink:
        """The caller's event stream; the first content is about to be written."""
        if not self._delivered:
            self._delivered = True
            if self.ctx.claim is not None:
                self.ctx.claim.charge()
            now = self._runtime.clock.monotonic()
            self.ctx.record.ttft_ms = (now - self.ctx.arrived) * 1e3
            if self._attempt is not None:
                self._settle_prompt(self._attempt)
                self._attempt.target.heard.first_token(now - self._attempt.began, now)
                self._note_heard(self._attempt, now)
            self._forget_request()
        if self._sink is None:
            self._sink = self._open()
        return self._sink

    def _forget_request(self) -> None:
        """Content reached the caller, so nothing is sent again: a long stream need not hold its prompt."""
        ctx = self.ctx
        if ctx.gist is None:
            return  # an upload, which holds what it read itself
        if ctx.held is not None:
            ctx.prompt_sample = sample_prompt(ctx)
        ctx.body = b""
        ctx.edits = None
        ctx.gist = ctx.members = None  # which has the body
        if self._attempt is not None and self._attempt.handle is not None:
            self._attempt.handle.forget_request()
        if ctx.reserved:
            self._runtime.budget.release(ctx.reserved)
            ctx.reserved = 0

    def _open(self) -> Sink:
        """Sends the head of an event stream."""
        ctx = self.ctx
        headers = [*STREAM_FIELDS, *ctx.reply_headers]
        if ctx.key is not None and ctx.key.insight and self._attempt is not None:
            waited = self._attempt.began - ctx.read_at - ctx.upstream
            headers.append((b"x-fastpath-overhead-us", b"%d" % int(waited * 1e6)))
            explain(ctx, headers)
        sink = ctx.exchange.stream(200, headers, self)
        return sink if ctx.claim is None else ctx.claim.open(200, lasting(ctx, STREAM_FIELDS), sink, events=True)

    def open_body(self, attempt: Attempt) -> Sink:
        """The caller's answer for a body that is passed on as it comes (its length is known)."""
        self._delivered = self._passing = True
        self._note_heard(attempt, self._runtime.clock.monotonic())
        headers = [*self.ctx.reply_headers, *inbound(attempt.headers)]
        headers += [field for field in attempt.headers if field[0] == b"content-length"]
        explain(self.ctx, headers)
        self._sink = self.ctx.exchange.stream(attempt.status, headers, self)
        claim = self.ctx.claim
        if claim is not None:
            fields = lasting(self.ctx, inbound(attempt.headers))
            claim.charge()
            self._sink = claim.open(attempt.status, fields, self._sink, events=False)
        return self._sink

    def passed(self, attempt: Attempt) -> None:
        """A passed-on body is complete."""
        self._end_attempt(attempt)
        self._finish_stream("complete")

    def stream_ended(self, attempt: Attempt, stream: StreamFilter) -> None:
        """The event stream is over, well or badly."""
        handle = attempt.handle
        if stream.terminal:
            self._end_attempt(attempt)
            if handle is not None:
                handle.linger()
            self._finish_stream("complete")
            return
        if handle is not None:
            handle.cancel()
        if stream.error is not None and stream.frames:
            self._end_attempt(attempt)
            self._end_in_band(quote(200, stream.error), "upstream_error")
            return
        cause = BROKEN_CAUSES.get(stream.broken or "", Cause.STATUS)
        self.attempt_failed(attempt, UpstreamError(cause, Moment.BODY, stream.broken or "an error event"))

    # -- the caller

    def client_left(self) -> None:
        """The caller disconnected."""
        if self.ctx.settled or self._detached:
            return
        record = self.ctx.record
        phase = "stream" if self._delivered else ("upstream" if self._attempt is not None else "retry")
        self._runtime.metrics.count("ai_inference_client_disconnects_total", (phase,))
        if self.ctx.claim is not None and self.ctx.claim.worth_finishing:
            self._detached = True  # the request is finished without its caller, who may come back for the answer
            self.resume()
            return
        attempt = self._attempt
        if attempt is not None:
            handle = attempt.handle
            self._end_attempt(attempt)
            if handle is not None:
                handle.cancel()
        record.outcome = "client_left"
        self._close(499)
        self._settle(self.ctx)

    def pause(self) -> None:
        if self._attempt is not None and self._attempt.handle is not None:
            self._attempt.handle.pause()

    def resume(self) -> None:
        if self._attempt is not None and self._attempt.handle is not None:
            self._attempt.handle.resume()

    def cancel(self) -> None:
        self.client_left()

    def end_now(self) -> None:
        """The worker stops: whatever is not delivered ends with an error the caller can read."""
        self.refuse(errors.overloaded("The gateway is restarting. Try again."))

    def refuse(self, error: GatewayError) -> None:
        """Ends the request with this error, whatever it was doing."""
        attempt = self._attempt
        handle = attempt.handle if attempt is not None else None
        if attempt is not None:
            self._end_attempt(attempt)
        if handle is not None:
            handle.cancel()
        self._conclude(error)

    def sweep(self, now: float) -> None:
        """Comments while the caller waits for the first token, and an end to callers that stopped reading."""
        timeouts = self._timeouts
        if self._delivered and self.streaming:
            self._note_progress(now)
        elif self._attempt is not None:
            self._note_overdue(self._attempt, now)
        stalled = self.ctx.exchange.stalled_since
        if stalled is not None and now - stalled > timeouts.client_stall and not self._detached:
            self.ctx.exchange.abort()
            self.client_left()
        elif now - self.ctx.read_at > timeouts.total:
            self._time_out()
        elif self._comments and not self._delivered and now - self._commented_at >= timeouts.comment_after:
            self._commented_at = now
            if self._sink is None:
                self._sink = self._open()
            self._sink.write(COMMENT)

    def _note_overdue(self, attempt: Attempt, now: float) -> None:
        """Tells health of an endpoint that lets a request wait longer than it usually does."""
        vitals = attempt.target.vitals
        if not attempt.late and vitals.is_overdue(now - attempt.began):
            attempt.late = True
            self._runtime.health.overdue(vitals, now)

    def _note_heard(self, attempt: Attempt, now: float) -> None:
        """Tells health of the beginning of an answer."""
        vitals = attempt.target.vitals
        vitals.heard(now - attempt.began, now, attempt.late)
        if vitals.wary:
            self._runtime.health.good(vitals, self._caller, now)

    @property
    def _caller(self) -> str:
        """Who asks, as far as health is concerned: whose errors may be its own."""
        key = self.ctx.key
        return self.ctx.record.client if key is None else f"{key.tenant or ''}/{key.name}"

    def _note_progress(self, now: float) -> None:
        """Notes how far a stream is: what is charged should this process die."""
        if self.ctx.ticket is not None:
            note_progress(self.ctx, self._events)
        if self._runtime.books is not None and now - self._marked_at >= MARK_EVERY:
            self._marked_at = now
            self._runtime.books.mark(self.ctx, self._events)

    @property
    def _events(self) -> int:
        """Events of the answer so far."""
        stream = self._attempt.stream if self._attempt is not None else None
        return stream.frames if stream is not None else 0

    @property
    def unfinished(self) -> int:
        """Bytes held of an event that is not whole yet."""
        stream = self._attempt.stream if self._attempt is not None else None
        return stream.pending if stream is not None else 0

    @property
    def held(self) -> int:
        """Bytes collected of an answer that is sent whole."""
        return self._held

    @property
    def phase(self) -> str:
        if self._detached:
            return "finishing"
        if self._delivered:
            return "streaming"
        if self._backoff is not None:
            return "backing off"
        return "waiting" if self._attempt is not None else "over"

    # -- ends

    def _may_retry(self, error: UpstreamError) -> bool:
        if error.cause is Cause.TOTAL_TIMEOUT:
            return False
        if self._delivered or self._retries >= self.ctx.snapshot.settings.retries.attempts:
            return False
        if not self._left and not self._may_fall_back():
            return False
        if self.ctx.body == b"" and error.moment is not Moment.CONNECT:
            return False  # an upload that was streamed is gone
        if stored(self.ctx) and error.moment is not Moment.CONNECT and not isinstance(error, BadStatus):
            return False  # it may have been stored: a second run would store it twice
        return self._runtime.retries.spend()

    def _retry(self) -> None:
        settings = self.ctx.snapshot.settings.retries
        delay = backoff(self._retries, settings.backoff, settings.backoff_max, self._runtime.random)
        self._retries += 1
        # The last try is another model's, where there is one: these endpoints had theirs. It was not asked yet.
        self._moves = self._may_fall_back() and (not self._left or self._retries >= settings.attempts)
        if self._moves:
            delay = 0.0
        self._runtime.metrics.count("ai_inference_retries_total", (self._route.name,))
        self._backoff = self._runtime.loop.call_later(delay, self._try_next)

    def _rest(self, seconds: float) -> None:
        """Everybody who could serve it asked to be left alone: nobody is asked before the first may be again."""
        message = "Every endpoint of this model asked to be left alone for a while."
        self._conclude(errors.overloaded(message, max(1.0, seconds)))

    def _time_out(self) -> None:
        """The whole request took too long, retries and back-off included."""
        error = UpstreamError(Cause.TOTAL_TIMEOUT, Moment.BODY if self._delivered else Moment.HEAD, "deadline")
        attempt = self._attempt
        if attempt is None:
            self._last_failure = error
            self._give_up()
            return
        handle = attempt.handle
        self.attempt_failed(attempt, error)
        if handle is not None:
            handle.cancel()

    def _give_up(self) -> None:
        error = self._last_failure
        assert error is not None
        if self._withheld and not self._delivered and error.cause is not Cause.TOTAL_TIMEOUT:
            self._conclude(unavailable(self.ctx, "failed", self._retry_after))
        elif isinstance(error, BadStatus) and error.status in (408, 429, 503, 529):
            self._conclude(errors.overloaded("Every endpoint of this model is busy.", self._retry_after or 1.0))
        elif self._sink is not None and error.cause is not Cause.POOL_FULL:
            self._conclude(errors.in_stream(error, self._delivered))
        else:
            self._conclude(errors.before_answer(error))

    def _conclude(self, error: GatewayError) -> None:
        """Tells the caller about a failure, in-band when the answer has begun."""
        ctx, sink = self.ctx, self._sink
        if ctx.settled:
            return
        if sink is not None and not self._passing:
            self._end_in_band(error, error.code)
            return
        ctx.record.outcome, ctx.record.error = "broken" if sink is not None else "error", error.code
        self._close(200 if sink is not None else error.status)
        self._settle(ctx)
        if sink is not None:
            sink.fail(error)
            return
        headers = [errors.JSON_TYPE, *ctx.reply_headers, *error.headers]
        explain(ctx, headers)
        ctx.exchange.reply(error.status, headers, errors.shape(error, ctx.dialect, ctx.record.id))

    def _end_in_band(self, error: GatewayError, code: str) -> None:
        """The last event of an answer that has begun and cannot be completed. code: for the record."""
        assert self._sink is not None
        self._sink.write(errors.frame(error, self.ctx.dialect, self.ctx.record.id, self.ctx.record.events))
        self._finish_stream("broken" if self._delivered else "error", code)

    def _reply(self, attempt: Attempt, body: bytes, outcome: str) -> None:
        """Sends a whole answer; the sink is not open."""
        ctx = self.ctx
        if ctx.claim is not None:
            ctx.claim.answer(attempt.status, lasting(ctx, inbound(attempt.headers)), body)
        ctx.record.outcome = outcome
        ctx.record.bytes_out = len(body)
        self._close(attempt.status)
        self._settle(ctx)
        headers = ctx.reply_headers + inbound(attempt.headers)
        if ctx.key is not None and ctx.key.insight:
            headers.append((b"x-fastpath-overhead-us", str(ctx.record.overhead_us).encode()))
            explain(ctx, headers)
        if ctx.record.cost_nano is not None:
            headers.append((b"x-fastpath-cost", nano_text(ctx.record.cost_nano)))
        ctx.exchange.reply(attempt.status, headers, body)

    def _finish_stream(self, outcome: str, code: str | None = None) -> None:
        ctx, sink = self.ctx, self._sink
        assert sink is not None
        ctx.record.outcome, ctx.record.error = outcome, code
        self._close(200)
        self._settle(ctx)
        sink.finish()

    def _settle_prompt(self, attempt: Attempt) -> None:
        """Its endpoint has read the prompt, or never will."""
        if attempt.unread >= 0:
            self._runtime.load.settle(attempt.target.slot, attempt.unread, attempt.mark)
            attempt.unread = -1

    def _end_attempt(self, attempt: Attempt) -> float:
        """Gives the endpoint's slot back; the seconds that the attempt took. References that form a cycle go too: with
        cycles the collector took half of the pipeline's CPU (71 us with it, 37 with it switched off, measured)."""
        self._note_delivered(attempt)
        took = self._runtime.clock.monotonic() - attempt.began
        self.ctx.upstream += took
        attempt.over = True
        attempt.handle = attempt.stream = attempt.relay = None
        if attempt.late:
            attempt.late = False
            attempt.target.vitals.overdue -= 1
        self._settle_prompt(attempt)
        self._runtime.load.end(attempt.target.slot)
        if self._held:
            self._runtime.budget.release(self._held)
            self._held = 0
        if self._attempt is attempt:
            self._attempt = None
        return took

    def _close(self, status: int) -> None:
        record = self.ctx.record
        record.status = status
        if self.ctx.claim is not None:
            self.ctx.claim.outcome = record.outcome
            if self._detached:
                record.status, record.outcome = 499, "client_left"
        self.ctx.exchange.on_left = self._sink = None
        if self._backoff is not None:
            self._backoff.cancel()
            self._backoff = None
        self._runtime.deliveries.discard(self)

    def _note_delivered(self, attempt: Attempt) -> None:
        """Records what was delivered of an attempt's answer, however it ended. Of a stream without content: nothing."""
        stream, relay, record = attempt.stream, attempt.relay, self.ctx.record
        if self._passing:
            record.bytes_out = attempt.size
            note_whole(self.ctx, None, b"")
        elif stream is not None and relay is not None and stream.frames:
            record.events, record.bytes_out = stream.frames, relay.written
            usage, final = read_usage(stream.usage, stream.usage_head), stream.usage is not None
            assert self.ctx.path is not None
            if usage is None or not final or self.ctx.path.by_piece or not self._believe(usage):
                note_stream(self.ctx, usage, stream.frames, final)

    def _believe(self, usage: Usage) -> bool:
        """Records a usage in which nothing is odd: all known, and no more than was set aside. False: look closer."""
        ctx, record = self.ctx, self.ctx.record
        if usage.disputed or not (usage.prompt_known and usage.answer_known):
            return False
        if ctx.held is not None:
            held = ctx.held
            if usage.parts is not None or usage.prompt > held.prompt_most or usage.answer > held.answer_most:
                return False
        record.input_tokens, record.output_tokens = usage.prompt, usage.answer
        record.cached_tokens, record.reasoning_tokens = usage.cached, usage.reasoning
        record.usage = usage
        return True


def make_call(delivery: Delivery, target: "Target") -> Call:
    """The call of a JSON request: the body as it came, or with the two patches that may be needed."""
    ctx = delivery.ctx
    assert ctx.path is not None
    body, members = ctx.body, ctx.members
    assert members is not None
    edits = [] if ctx.edits is None else list(ctx.edits)
    name = target.model if target.model is not None else ctx.substitute
    if name is not None:
        edits.append(rename_model(members, name))
    if delivery.asks_usage(target):
        edits.append(ask_usage(members))
    if edits:
        body = splice(body, edits)
    fields = outbound(ctx.exchange.fields, ctx.id)
    call = Call.__new__(Call)
    call.prepare("POST", ctx.path.upstream, fields, body, None, None, not stored(ctx))
    return call
