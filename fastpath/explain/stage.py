"""`GET /v1/decisions/{id}` of callers: how one of their own requests was decided.

Owns what a caller is told. A request of somebody else, one that is gone, and one that never was are the same 404 to the
byte. The record is looked for off the loop; the answer goes out on it.
"""

from typing import TYPE_CHECKING

import msgspec

from fastpath import errors
from fastpath.account.payer import payer_of
from fastpath.account.settle import settle
from fastpath.context import RequestContext
from fastpath.explain.archive import BusyError
from fastpath.explain.decision import Decision, id_of
from fastpath.explain.view import TENANT, Eyes, is_of, show

if TYPE_CHECKING:
    from fastpath.pipeline import Pipeline
    from fastpath.runtime import Runtime

PREFIX = "/v1/decisions/"


class Inquiry:
    """One request for a decision, until it is answered."""

    def __init__(self, ctx: RequestContext, pipeline: "Pipeline", runtime: "Runtime") -> None:
        self._ctx = ctx
        self._pipeline = pipeline
        self._runtime = runtime

    def begin(self) -> None:
        """Looks for the record. Raises 404, or 503 while too many look."""
        recorder = self._runtime.decisions
        request = id_of(self._ctx.exchange.path.removeprefix(PREFIX))
        if recorder is None or request is None:
            raise errors.unknown_decision()
        try:
            recorder.archive.look_up(request, self._on_found)
        except BusyError:
            raise errors.overloaded("Too many decisions are being looked up. Try again shortly.") from None
        self._ctx.exchange.on_left = self._on_left

    def _on_left(self) -> None:
        self._pipeline.refuse(self._ctx, None)

    def _on_found(self, decision: Decision | None) -> None:
        ctx = self._ctx
        if ctx.settled:
            return
        ctx.exchange.on_left = None
        try:
            self._answer(decision)
        except Exception as error:
            self._pipeline.fail(ctx, error)

    def _answer(self, decision: Decision | None) -> None:
        ctx = self._ctx
        if decision is None or not is_of(decision, payer_of(ctx.key)):
            raise errors.unknown_decision()
        body = msgspec.json.encode(show(decision, self._eyes()))
        ctx.record.status, ctx.record.outcome, ctx.record.bytes_out = 200, "complete", len(body)
        settle(ctx, self._runtime)
        ctx.exchange.reply(200, [errors.JSON_TYPE, *ctx.reply_headers], body)

    def _eyes(self) -> Eyes:
        key = self._ctx.key
        if key is None or not key.insight:
            return TENANT
        models = self._ctx.snapshot.settings.models
        return Eyes(frozenset(each.name for model in models for each in model.endpoints if each.name))
