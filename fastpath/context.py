"""What the gateway knows about one request while it runs.

Working state: stages read and write it, nobody keeps it; what remains is its DecisionRecord. One loop, no locking.
"""

from typing import TYPE_CHECKING

from _native.door import Exchange
from _native.jsonscan import Members
from fastpath.errors import Header
from fastpath.policy.question import EVERY_TIER
from fastpath.record import DecisionRecord

if TYPE_CHECKING:
    from backends.dialects.gist import Gist
    from backends.dialects.openai import Edit
    from fastpath.account.held import Held
    from fastpath.account.tariff import Account, Terms
    from fastpath.account.wording import Booking
    from fastpath.endpoints.paths import ApiPath
    from fastpath.guard.label import Label
    from fastpath.idempotency.claim import Claim
    from fastpath.identity.keys import Key
    from fastpath.identity.known import Known
    from fastpath.limits.admission import Ticket
    from fastpath.money.estimate import Sample
    from fastpath.route.wanted import Wanted
    from fastpath.running import Running
    from fastpath.snapshot import Route, Snapshot


class RequestContext:
    """Working state of one request. Times are monotonic seconds."""

    def __init__(self, exchange: Exchange, record: DecisionRecord, snapshot: "Snapshot", arrived: float) -> None:
        self.prepare(exchange, record, snapshot, arrived)

    def prepare(self, exchange: Exchange, record: DecisionRecord, snapshot: "Snapshot", arrived: float) -> None:
        """What `__init__` does: called from C it needs no look at its arguments."""
        self.exchange = exchange
        self.record = record
        self.id = record.id.encode()  # as it goes on the wire
        self.snapshot = snapshot  # the one it was admitted under, whatever is published later
        self.arrived = arrived
        self.read_at = arrived  # when the last byte of its body was here
        self.upstream = 0.0  # seconds that attempts took, from their first byte out to their end
        self.path: ApiPath | None = None
        self.key: Key | None = None
        self.known: Known | None = None  # the same, as stages look at it; None: look at the key
        self.account: Account | None = None  # by which it is billed, once that was looked up
        self.route: Route | None = None
        self.body: bytes = b""
        self.reserved = 0  # bytes of the body in the worker's memory budget
        self.ends = 0.0  # Unix seconds: when its caller's key does; 0: never
        self.asked = ""  # the model that the caller named, whichever answers
        self.gist: Gist | None = None  # of its body; None: there is none, or it is forgotten
        self.members: Members | None = None  # where its decision fields are in the body
        self.ticket: Ticket | None = None  # what it holds of its caller's limits and budgets
        self.answer_most = 0  # tokens that it allows one answer, 0: it does not say; known once it is held for
        self.answers = 1  # that it asks for
        self.pictures = (
            0  # that a form asks for as far as it was read, 0: it does not say, -1: nothing that is a number
        )
        self.held: Held | None = None  # its worst case, where it costs something or its tokens are limited
        self.terms: Terms | None = None  # by which its latest attempt is billed
        self.edits: list[Edit] | None = None  # what a clamp changes in its body
        self.prompt_sample: list[Sample] | None = None  # of the prompt, taken before that is forgotten
        self.booked: Booking | None = None  # by what the outbox has an intent of it, and room for its end
        self.substitute: str | None = None  # the cheaper model that a budget sent it to
        self.claim: Claim | None = None  # what it holds of its idempotency key
        self.running: Running | None = None  # its model's gauge, which counts it
        self.settled = False
        self.label: Label | None = None  # of its data; known when its model is
        self.mark = 0  # by which it is known should this worker die, 0: none
        self.mark_place = 0
        self.tiers = EVERY_TIER  # where policies let it go: `fastpath.policy.question`
        self.wanted: Wanted | None = None  # of an endpoint, where endpoints differ
        self.reply_headers: list[Header] = [(b"x-request-id", self.id)]

    @property
    def dialect(self) -> str:
        """In whose error shape the caller is answered."""
        return self.path.dialect if self.path is not None else "chat"
