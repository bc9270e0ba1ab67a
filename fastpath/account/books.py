"""What a worker tells the ledger: an Intent before a request's first byte goes out, Marks while it runs, one End.

Owns how a running request becomes facts of the outbox. Does not own the outbox's files or what a ledger makes of them.
A request whose Intent finds no room is refused before it is sent: nothing is dispatched that cannot be billed. Runs on
the worker's loop and never waits.
"""

from typing import TYPE_CHECKING, Protocol

from _native.outbox import id_bytes
from fastpath.account.cost import progress_of
from fastpath.account.payer import payer_of
from fastpath.account.tariff import Terms
from fastpath.context import RequestContext
from fastpath.outbox.facts import Attempt, End, Fact, Intent, Mark, Payer, encode
from fastpath.record import DecisionRecord

if TYPE_CHECKING:
    from fastpath.snapshot import Target

Booking = tuple[bytes, Payer]
"""By what the outbox knows a request, and its caller."""

_NO_TERMS = Terms()
#: Outcomes that brought the caller something of the last attempt's answer.
_DELIVERED = frozenset({"complete", "broken", "client_left"})


class Writer(Protocol):
    """Where records go: `fastpath.outbox.writer.OutboxWriter`."""

    def put(self, data: bytes) -> bool: ...
    def put_opening(self, data: bytes) -> bool: ...
    def put_closing(self, data: bytes) -> bool: ...


class Books:
    """The facts of one worker's requests."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def intend(self, ctx: RequestContext, target: "Target") -> bool:
        """Notes that an attempt is about to be sent. False: there is no room, and it must not be."""
        record, route, held = ctx.record, ctx.route, ctx.held
        terms = ctx.terms if ctx.terms is not None else _NO_TERMS
        assert route is not None
        booking = _booking_of(ctx)
        intent = Intent(
            request=booking[0],
            attempt=record.attempts,
            ts=record.ts,
            payer=booking[1],
            model=route.name,
            endpoint=target.name,
            price=terms.price,
            markup_ppm=terms.markup_ppm,
            reserved=held.nano if held is not None and held.bounded else 0,
            input_estimate=record.prompt_estimate(),
            output_most=ctx.decision.answer_most() if ctx.decision is not None else 0,
            charge=None if terms.charge is terms.price else terms.charge,
            currency=terms.currency,
            rate=terms.rate,
        )
        if ctx.booked is not None:
            return self._writer.put(encode(intent))
        if not self._writer.put_opening(encode(intent)):
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
        record, route = ctx.record, ctx.route
        if route is None:
            return
        path = ctx.path.template if ctx.path is not None else ""
        booking = _booking_of(ctx)
        end: Fact = End(
            request=booking[0],
            ts=record.ts,
            payer=booking[1],
            attempts=attempts_of(record),
            status=record.status,
            outcome=record.outcome,
            model=route.name,
            path=path,
        )
        if ctx.booked is not None:
            self._writer.put_closing(encode(end))
        else:
            self._writer.put(encode(end))


def attempts_of(record: DecisionRecord) -> tuple[Attempt, ...]:
    """How each attempt ended. One that failed before it said a usage costs nothing that is known.

    One whose answer had begun and broke is a failure, too; what was delivered of it is known, and paid.
    """
    if record.failures is None:
        return (_last_of(record),) if record.attempts else ()
    failed = record.failures
    if record.outcome == "broken" and len(failed) == record.attempts:
        failed = failed[:-1]
    ended = [Attempt(n, failure.split(" ", 1)[0], None) for n, failure in enumerate(failed, 1)]
    if record.attempts > len(failed):
        ended.append(_last_of(record))
    return tuple(ended)


def _last_of(record: DecisionRecord) -> Attempt:
    return Attempt(
        attempt=record.attempts,
        endpoint=record.endpoint or "",
        usage=None if record.usage is None else record.usage.billable(),
        estimated=bool(record.estimated),
        disputed=bool(record.disputed),
        delivered=record.outcome in _DELIVERED,
    )


def _booking_of(ctx: RequestContext) -> Booking:
    """What its Intent said, where there was one."""
    return ctx.booked if ctx.booked is not None else (id_bytes(ctx.record.id), payer_of(ctx.key))
