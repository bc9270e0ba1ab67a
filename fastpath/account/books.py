"""What a worker tells the ledger: an Intent before a request's first byte goes out, Marks while it runs, one End.

Owns how a running request becomes facts of the outbox. Does not own the outbox's files or what a ledger makes of them.
A request whose Intent finds no room is refused before it is sent: nothing is dispatched that cannot be billed. Runs on
the worker's loop and never waits.
"""

from typing import TYPE_CHECKING, Protocol

from _native.entry import Entry
from fastpath.account.cost import progress_of
from fastpath.account.wording import Booking, Wording, booking_of, write_end, write_intent
from fastpath.context import RequestContext
from fastpath.outbox.facts import Mark, encode

if TYPE_CHECKING:
    from fastpath.snapshot import Target


class Writer(Protocol):
    """Where records go: an `_native.outbox.Appender`, or whatever stands for it."""

    def put(self, data: bytes, /) -> bool: ...
    def put_opening(self, data: bytes, /) -> bool: ...
    def put_closing(self, data: bytes, /) -> bool: ...


class Books:
    """The facts of one worker's requests."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._entry = Entry()
        self._wording = Wording()

    def intend(self, ctx: RequestContext, target: "Target") -> bool:
        """Notes that an attempt is about to be sent. False: there is no room, and it must not be."""
        route, held, entry = ctx.route, ctx.held, self._entry
        assert route is not None
        booking = self._booking_of(ctx)
        clause = self._wording.clause(ctx.terms, route.name, target.name)
        reserved = held.nano if held is not None and held.bounded else 0
        if held is None and ctx.gist is not None:  # no limit has asked yet
            ctx.answer_most = ctx.gist.answer_most
        write_intent(entry, booking, ctx.record, clause, reserved, ctx.answer_most)
        if ctx.booked is not None:
            return entry.put(self._writer)
        if not entry.put_opening(self._writer):
            return False
        ctx.booked = booking
        return True

    def mark(self, ctx: RequestContext, events: int) -> None:
        """Notes how far a stream is: what is billed should this process die."""
        if ctx.booked is not None:
            usage = progress_of(ctx.record, events)
            self._writer.put(encode(Mark(ctx.booked[0], ctx.record.attempts, usage, True)))

    def end(self, ctx: RequestContext) -> None:
        """Notes how a request ended, whose record is final."""
        route, entry = ctx.route, self._entry
        if route is None:
            return
        path = ctx.path.template if ctx.path is not None else ""
        write_end(entry, self._booking_of(ctx), ctx.record, route.name, path)
        if ctx.booked is not None:
            entry.put_closing(self._writer)
        else:
            entry.put(self._writer)

    def _booking_of(self, ctx: RequestContext) -> Booking:
        """What its Intent said, where there was one."""
        if ctx.booked is not None:
            return ctx.booked
        return booking_of(ctx.record.id, self._wording.payer(ctx.key))
