"""How an Intent and an End are put into bytes: what `fastpath.outbox.facts` reads, written without building a Struct.

Owns the order of their values, and what is written once and kept: a payer, and all that one endpoint's terms say. Does
not own the Structs, which are the contract: tests hold every byte to `facts.encode`. What was kept is by identity: a
new snapshot has new keys and new terms. One event loop.
"""

import msgspec

from _native.entry import Entry, Memo
from _native.outbox import id_bytes
from backends.dialects.usage import Usage
from fastpath.account.payer import payer_of
from fastpath.account.tariff import Terms
from fastpath.outbox.facts import Attempt
from fastpath.record import DecisionRecord
from fastpath.settings import Key

Booking = tuple[bytes, bytes]
"""By what the outbox knows a request, and its payer in MessagePack."""

#: Outcomes that brought the caller something of the last attempt's answer.
_DELIVERED = frozenset({"complete", "broken", "client_left"})
_NO_TERMS = Terms()
_encode = msgspec.msgpack.Encoder().encode


class Clause:
    """What all Intents to one endpoint by the same terms have in common: values before and behind their own."""

    def __init__(self, model: str, endpoint: str, front: bytes, back: bytes) -> None:
        self.model = model
        self.endpoint = endpoint
        self.front = front
        self.back = back


class Wording:
    """Payers and clauses that were written before."""

    def __init__(self) -> None:
        self._payers = Memo()
        self._clauses = Memo()

    def payer(self, key: Key | None) -> bytes:
        """A caller as an Intent and an End have it."""
        found = self._payers.get(key)
        if found is None:
            found = _encode(payer_of(key))
            self._payers.put(key, found)
        assert isinstance(found, bytes)
        return found

    def clause(self, terms: Terms | None, model: str, endpoint: str) -> Clause:
        """terms: by which the attempt is billed, None: by none."""
        of = terms if terms is not None else endpoint
        found = self._clauses.get(of)
        if isinstance(found, Clause) and found.model is model and found.endpoint is endpoint:
            return found
        found = clause_of(terms if terms is not None else _NO_TERMS, model, endpoint)
        self._clauses.put(of, found)
        return found


def clause_of(terms: Terms, model: str, endpoint: str) -> Clause:
    """What these terms say."""
    charge = None if terms.charge is terms.price else terms.charge
    front = b"".join(map(_encode, (model, endpoint, terms.price, terms.markup_ppm)))
    return Clause(model, endpoint, front, b"".join(map(_encode, (charge, terms.currency, terms.rate))))


def booking_of(request: str, payer: bytes) -> Booking:
    """request: its id. Raises ValueError."""
    return id_bytes(request), payer


def write_intent(
    entry: Entry, booking: Booking, record: DecisionRecord, clause: Clause, reserved: int, most: int
) -> None:
    """The attempt that a record counted last. reserved: nano-units; most: tokens of the answer."""
    entry.begin()
    entry.array(15)  # the tag, and the fields of an Intent
    entry.whole(1)
    entry.blob(booking[0])
    entry.whole(record.attempts)
    entry.real(record.ts)
    entry.raw(booking[1])
    entry.raw(clause.front)
    entry.whole(reserved)
    entry.whole(record.prompt_estimate())
    entry.whole(most)
    entry.raw(clause.back)


def write_end(entry: Entry, booking: Booking, record: DecisionRecord, model: str, path: str) -> None:
    """How a request ended, whose record is final."""
    entry.begin()
    entry.array(9)  # the tag, and the fields of an End
    entry.whole(3)
    entry.blob(booking[0])
    entry.real(record.ts)
    entry.raw(booking[1])
    if record.failures is not None or record.attempts == 0:
        entry.raw(_encode(attempts_of(record)))
    else:
        entry.array(1)
        _write_attempt(entry, record)
    entry.whole(record.status)
    entry.text(record.outcome)
    entry.text(model)
    entry.text(path)


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


def _write_attempt(entry: Entry, record: DecisionRecord) -> None:
    """What `_last_of` is."""
    entry.array(6)
    entry.whole(record.attempts)
    entry.text(record.endpoint or "")
    if record.usage is None:
        entry.nothing()
    else:
        _write_usage(entry, record.usage)
    entry.flag(record.estimated)
    entry.flag(record.disputed)
    entry.flag(record.outcome in _DELIVERED)


def _write_usage(entry: Entry, usage: Usage) -> None:
    """What `Usage.billable` is."""
    if usage.parts is not None:
        entry.raw(_encode(usage.parts))
        return
    entry.array(9)
    entry.whole(usage.prompt - usage.cached)
    entry.whole(usage.cached)
    entry.whole(0)
    entry.whole(usage.answer - usage.reasoning)
    entry.whole(usage.reasoning)
    entry.raw(b"\0\0\0\0")  # images, and what is dearer than the rest
