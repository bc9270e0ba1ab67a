"""The stage of requests with an idempotency key: they run, are answered as before, or are told why neither.

After a caller is identified and its model found, before limits: a repeat uses up nothing. Owns what a repeat is told.
Synchronous but for two waits off the loop: for the store to open (once in a worker's life), for an answer to be read.
"""

from typing import TYPE_CHECKING, Final

from _native.relay import Source
from fastpath import errors
from fastpath.account.settle import settle
from fastpath.context import RequestContext
from fastpath.errors import GatewayError, Header
from fastpath.idempotency.caller import HEADER, mark_request, owner_of, read_header
from fastpath.idempotency.moment import SECOND
from fastpath.idempotency.slot import Reason, Slot
from fastpath.idempotency.verdict import Busy, Conflict, Full, Kept, Lost, Running, Taken, Verdict
from fastpath.identity.recall import recheck
from fastpath.money.amount import format_nano
from fastpath.relay.delivery import make_call
from fastpath.route.stage import route

if TYPE_CHECKING:
    from fastpath.idempotency.answers import Answer
    from fastpath.idempotency.store import Store
    from fastpath.pipeline import Pipeline
    from fastpath.runtime import Runtime

REPLAYED: Final[Header] = (b"idempotent-replayed", b"true")
UNPROTECTED: Final[Header] = (b"x-fastpath-idempotency", b"none")
#: Longest time that a repeat is told to wait, in seconds: clients that are told to wait a minute give up.
LONGEST_WAIT: Final = 30.0


class Keyed:
    """One request with an idempotency key, until it runs or is answered."""

    def __init__(self, ctx: RequestContext, model: str, pipeline: "Pipeline", runtime: "Runtime") -> None:
        assert runtime.idempotency is not None
        self._ctx = ctx
        self._model = model
        self._pipeline = pipeline
        self._runtime = runtime
        self._store: Store = runtime.idempotency
        self._settings = ctx.snapshot.settings.idempotency
        self._key = b""

    def stops(self) -> bool:
        """Whether the request is not to run, now or at all; it is answered then. Raises GatewayError."""
        exchange = self._ctx.exchange
        self._key = read_header(exchange.values(HEADER) if exchange.repeated else [exchange.fields[HEADER]])
        route(self._ctx, self._model)  # a model that the caller may no longer use answers no repeats either
        if self._store.ready:
            return self._decide()
        exchange.on_left = self._on_left
        self._store.open(self._settings, self._go_on)
        return True

    def _go_on(self) -> None:
        """The store is open, or could not be opened."""
        ctx = self._ctx
        if ctx.settled:
            return
        ctx.exchange.on_left = None
        try:
            if not self._decide():
                self._pipeline.dispatch(ctx, self._model, make_call)
        except Exception as error:
            self._pipeline.fail(ctx, error)

    def _on_left(self) -> None:
        self._pipeline.refuse(self._ctx, None)

    def _decide(self) -> bool:
        recheck(self._ctx, self._pipeline.snapshot)  # a key that was taken away gets no answers of before, either
        verdict = self._look()
        if isinstance(verdict, Taken):
            self._claim(verdict)
            return False
        if isinstance(verdict, Full):
            self._store.count("unprotected")
            self._ctx.reply_headers.append(UNPROTECTED)
            return False
        if isinstance(verdict, Kept):
            self._replay(verdict.slot)
            return True
        raise self._refusal(verdict)

    def _look(self) -> Verdict:
        ctx, secret = self._ctx, self._store.secret
        assert ctx.key is not None
        if secret is None:
            return Full()
        mark = mark_request(owner_of(ctx.key), self._key, ctx.exchange.path, ctx.body, secret)
        reason = Reason.UNSURE if self._stored else Reason.NONE
        return self._store.take(mark, bytes.fromhex(ctx.record.id[4:]), self._settings, reason)

    @property
    def _stored(self) -> bool:
        """Whether the model server is asked to store the answer."""
        return self._ctx.gist is not None and self._ctx.gist.stores

    @property
    def _withheld(self) -> bool:
        """Whether the answer must not be stored: it is P0, by the word of anyone at all."""
        label = self._ctx.label
        return label is None or (label.data_class == "P0" and not label.assumed)

    def _claim(self, taken: Taken) -> None:
        from fastpath.idempotency.claim import Claim  # loaded with the store

        store, settings, budget = self._store, self._settings, self._runtime.budget
        self._ctx.claim = Claim(store, taken, settings, budget, withheld=self._withheld, stored=self._stored)

    def _refusal(self, verdict: Running | Conflict | Lost | Busy) -> GatewayError:
        if isinstance(verdict, Lost):
            self._store.count("lost")
            return errors.answer_not_stored(_WHY[verdict.reason])
        if isinstance(verdict, Conflict):
            self._store.count("conflict")
            return errors.idempotency_conflict()
        self._store.count("in_progress")
        # What has run for so long will probably run for about as long again.
        age = verdict.age / SECOND if isinstance(verdict, Running) else 0.0
        return errors.in_progress(min(LONGEST_WAIT, max(1.0, age)))

    # -- an answer that is given again

    def _replay(self, slot: Slot) -> None:
        ctx = self._ctx
        self._pipeline.reserve(ctx, slot.place.length)
        ctx.exchange.on_left = self._on_left
        self._store.read(slot, lambda answer: self._on_read(slot, answer))

    def _on_read(self, slot: Slot, answer: "Answer | None") -> None:
        ctx = self._ctx
        if ctx.settled:
            return
        ctx.exchange.on_left = None
        if answer is None:
            self._pipeline.refuse(ctx, self._refusal(Lost(Reason.NO_ROOM)))
            return
        self._store.count("replayed")
        record = ctx.record
        record.status, record.outcome, record.bytes_out = answer.status, "replayed", len(answer.body)
        settle(ctx, self._runtime)
        first = (b"x-fastpath-first-request-id", b"req_" + slot.request.hex().encode())
        headers = [*answer.headers, *ctx.reply_headers, REPLAYED, first]
        if not answer.events:
            if record.cost_nano is not None:
                headers.append((b"x-fastpath-cost", format_nano(record.cost_nano).encode()))
            ctx.exchange.reply(answer.status, headers, answer.body)
            return
        sink = ctx.exchange.stream(answer.status, headers, Whole())
        sink.write(answer.body)
        sink.finish()


class Whole(Source):
    """Of an answer that is given whole: there is nothing to hold back."""

    def pause(self) -> None:
        """It is all given already."""

    def resume(self) -> None:
        """It is all given already."""

    def cancel(self) -> None:
        """It is all given already."""


_WHY: Final = {
    Reason.WITHHELD: "answers of its data class are never stored",
    Reason.TOO_LARGE: "it was larger than the gateway stores",
    Reason.NO_ROOM: "the gateway had or has no room for it",
    Reason.BROKEN_OFF: "it broke off before it was whole",
    Reason.UNSURE: "it broke off, and the model server may have stored a result",
}
