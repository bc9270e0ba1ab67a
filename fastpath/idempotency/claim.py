"""What one running request holds of its idempotency key: the right to run, and what was answered so far.

Owns the record of the answer while it goes out (counted in the worker's memory budget) and what becomes of the key when
the request is over. One loop. The rules, of which docs/reference/idempotency.md tells the reasons:

    the caller got an answer (a broken stream too)   charged, and kept, where it may be and there is room
    something of it, but no end                      charged, not kept
    nothing                                          forgotten: the next request under the key runs
"""

from typing import TYPE_CHECKING, Final

from _native.relay import Sink
from fastpath.errors import Header
from fastpath.idempotency.answers import Answer
from fastpath.idempotency.slot import Reason

if TYPE_CHECKING:
    from fastpath.idempotency.store import Store
    from fastpath.idempotency.verdict import Taken
    from fastpath.observe.budget import MemoryBudget
    from fastpath.settings import Idempotency

#: Outcomes with which a caller has its answer, whole or as far as there is one.
_ANSWERED: Final = frozenset({"complete", "refused", "broken"})


class Claim:
    """Of one request. `charge`, `answer` and `open` as the answer goes out; `outcome` and then `settle` once."""

    def __init__(
        self,
        store: "Store",
        taken: "Taken",
        settings: "Idempotency",
        budget: "MemoryBudget",
        *,
        withheld: bool,
        stored: bool,
    ) -> None:
        """withheld: its data class is never stored; stored: the model server was asked to store the answer."""
        self.outcome = ""  # as in the record, once it is known
        self._store = store
        self._taken = taken
        self._settings = settings
        self._budget = budget
        self._unsure = stored
        self._reason = Reason.WITHHELD if withheld else Reason.NONE
        self._charged = False
        self._over = False
        self._head: tuple[int, tuple[Header, ...]] | None = None
        self._events = False
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def worth_finishing(self) -> bool:
        """Whether the answer is wanted although its caller has left: it can be given when the request is repeated."""
        return self._reason is Reason.NONE

    # -- while the answer goes out

    def charge(self) -> None:
        """Content reaches the caller."""
        if not self._charged:
            self._charged = True
            self._store.charge(self._taken, self._reason)

    def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """The whole answer."""
        self._head = (status, tuple(headers))
        self.record(body)

    def open(self, status: int, headers: list[Header], out: Sink, *, events: bool) -> Sink:
        """The answer begins; returns the Sink for it, which passes everything on to `out`."""
        self._head, self._events = (status, tuple(headers)), events
        return Tape(self, out)

    def record(self, data: bytes) -> None:
        """More of the answer."""
        if self._reason is not Reason.NONE or self._over:
            return
        if self._size + len(data) > self._settings.answer:
            self._drop(Reason.TOO_LARGE)
        elif not self._budget.reserve(len(data)):
            self._drop(Reason.NO_ROOM)
        else:
            self._size += len(data)
            self._pieces.append(data)

    def _drop(self, reason: Reason) -> None:
        """The answer will not be kept."""
        self._reason = reason
        self._release()
        if self._charged:
            self._store.charge(self._taken, reason)

    def _release(self) -> None:
        self._budget.release(self._size)
        self._size = 0
        self._pieces = []

    # -- the end

    def settle(self, attempts: int) -> None:
        """The request is over; attempts: those that were sent. Before its last byte goes out."""
        if self._over:
            return
        self._over = True
        if self._can_be_kept():
            self._keep()
            return
        self._release()
        if self._charged or self.outcome in _ANSWERED or (self._unsure and attempts):
            self._lose()
        else:
            self._store.forget(self._taken)
            self._store.count("forgotten")

    def _can_be_kept(self) -> bool:
        if self._reason is not Reason.NONE or self._head is None:
            return False
        return self.outcome in _ANSWERED and (self.outcome != "broken" or self._events)

    def _keep(self) -> None:
        assert self._head is not None
        status, headers = self._head
        self.charge()
        answer = Answer(status, headers, b"".join(self._pieces), self._events)
        self._store.keep(self._taken, answer, self._settings, self._on_kept)

    def _on_kept(self, kept: bool) -> None:
        self._release()
        self._store.count("kept" if kept else "not_kept")

    def _lose(self) -> None:
        """It was charged, or may have had its effect, and there is no answer to give again."""
        reason = self._reason
        if reason is Reason.NONE:
            reason = Reason.UNSURE if self._unsure and not self._charged else Reason.BROKEN_OFF
        self._store.lose(self._taken, reason)
        self._store.count("not_kept")


class Tape(Sink):
    """Passes an answer on and records it."""

    def __init__(self, claim: Claim, out: Sink) -> None:
        self._claim = claim
        self._out = out

    def write(self, data: bytes) -> None:
        self._claim.record(data)
        self._out.write(data)

    def finish(self) -> None:
        self._out.finish()

    def fail(self, error: object) -> None:
        self._out.fail(error)
