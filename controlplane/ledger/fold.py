"""What facts make of one request: its next record, the attempts to keep, the postings to make.

Owns the meaning of every effect of `states`. Does not own the database: records come in as they were read, and what
comes out is written by `settlement`. Pure, but for the record and attempts it is given, which it changes.
"""

from operator import attrgetter

import msgspec

from controlplane.ledger.dockets import Docket
from controlplane.ledger.posting import Numbering, Posting
from controlplane.ledger.rules import Amount, Policy, bill_currency, charge_of, charged_by, cost_of, plausible
from controlplane.ledger.states import FINAL, Effect, Event, State, step
from controlplane.ledger.tables import NO_CURRENCY, Book, Flag, Kind
from controlplane.store.metadata import micros
from fastpath.money.price import Billable
from fastpath.outbox.facts import Attempt, End, Intent, Mark, Payer, decode, encode


class Record(msgspec.Struct, gc=False):
    """A row of `ledger_requests`, its columns in their order."""

    request: bytes
    state: int = State.ADMITTED
    tenant: str = ""
    team: str = ""
    user: str = ""
    key: str = ""
    model: str = ""
    path: str = ""
    admitted: int = 0
    ended: int | None = None
    status: int | None = None
    outcome: str = ""
    flags: int = 0
    attempts: int = 0
    currency: str = NO_CURRENCY
    reserved: int = 0
    charged: int = 0
    refunded: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    early: bytes | None = None

    @property
    def payer(self) -> Payer:
        return Payer(self.tenant, self.team, self.user, self.key)


class Kept(msgspec.Struct, gc=False):
    """A row of `ledger_attempts`, decoded. `changed`: it must be written."""

    intent: Intent | None = None
    mark: Mark | None = None
    cost: int | None = None
    charge: int | None = None
    stated: bool = False
    changed: bool = True


class Bill(msgspec.Struct, frozen=True, gc=False):
    """What one attempt comes to."""

    attempt: int
    intent: Intent
    usage: Billable
    cost: Amount
    charge: Amount | None  # None: the tenant does not pay for it
    flags: int


class Fold:
    """One request while its facts are applied. `postings` grows; `record` and `kept` are as they will be stored."""

    __slots__ = ("_now", "_numbering", "_policy", "changed", "kept", "postings", "record")

    def __init__(
        self, policy: Policy, numbering: Numbering, now: int, record: Record, kept: dict[int, Kept] | None = None
    ) -> None:
        self._policy = policy
        self._numbering = numbering
        self._now = now
        self.record = record
        self.kept: dict[int, Kept] = {} if kept is None else kept
        self.postings: list[Posting] = []
        self.changed = False

    def apply(self, docket: Docket) -> None:
        """Applies facts in their natural order, whatever order they came in."""
        for intent in sorted(docket.intents, key=attrgetter("attempt")):
            self._on_intent(intent)
        for mark in docket.marks:
            self._on_mark(mark)
        early = self.record.early
        end = docket.end if early is None else decode(early)
        if isinstance(end, End):
            self._on_end(end)

    def abandon(self) -> None:
        """Its worker is dead: settles from what is known, unless it is over."""
        if self._step(Event.ABANDON) is Effect.ESTIMATE:
            self._estimate()

    @property
    def is_final(self) -> bool:
        return self.record.state in FINAL

    def _step(self, event: Event) -> Effect:
        state, effect = step(self.record.state, event)
        if effect is not Effect.NONE:
            self.record.state = state
            self.changed = True
        return effect

    def _on_intent(self, intent: Intent) -> None:
        if self._step(Event.INTENT) is not Effect.HOLD:
            return
        kept = self.kept.setdefault(intent.attempt, Kept())
        if kept.intent is not None:
            return
        kept.intent = intent
        kept.changed = True
        record = self.record
        if record.attempts == 0:
            self._name(intent.payer, intent.model, intent.ts)
            record.currency = bill_currency(intent) or NO_CURRENCY
        record.reserved = max(record.reserved, intent.reserved)
        record.attempts = max(record.attempts, intent.attempt)

    def _on_mark(self, mark: Mark) -> None:
        if self._step(Event.MARK) is not Effect.NOTE:
            return
        kept = self.kept.setdefault(mark.attempt, Kept())
        kept.mark = mark
        kept.changed = True

    def _on_end(self, end: End) -> None:
        billed = [attempt for attempt in end.attempts if attempt.usage is not None]
        known = all(attempt.attempt in self.kept and self.kept[attempt.attempt].intent for attempt in billed)
        effect = self._step(Event.VOID if not billed else Event.END if known else Event.EARLY)
        if effect is Effect.PARK:
            self.record.early = encode(end)
            self._close(end, ended=False)
        elif effect is Effect.RELEASE:
            self._close(end)
        elif effect is Effect.POST:
            self._close(end)
            self._post([self._bill(attempt, end.outcome) for attempt in billed])
        elif effect is Effect.CORRECT:
            self._close(end)
            self._correct([self._bill(attempt, end.outcome) for attempt in billed])

    def _name(self, payer: Payer, model: str, ts: float) -> None:
        record = self.record
        record.tenant, record.team, record.user, record.key = payer.tenant, payer.team, payer.user, payer.key
        record.model = model
        record.admitted = micros(ts)

    def _close(self, end: End, *, ended: bool = True) -> None:
        record = self.record
        if record.attempts == 0:  # no Intent told who pays, nor when
            self._name(end.payer, end.model, end.ts)
        record.path = end.path
        record.outcome = end.outcome
        if ended:
            record.early = None
            record.ended = micros(end.ts)
            record.status = end.status

    def _bill(self, attempt: Attempt, outcome: str) -> Bill:
        intent = self.kept[attempt.attempt].intent
        if intent is None or attempt.usage is None:
            raise AssertionError("an attempt without a price or a usage has no bill")
        usage, impossible = plausible(attempt.usage)
        pays = attempt.delivered and self._policy.pays(outcome)
        price, asked = intent.price, charged_by(intent)
        flags = int(Flag.ESTIMATED) if attempt.estimated else 0
        if price is None or asked is None:
            flags |= Flag.UNPRICED
        cost = Amount(0) if price is None else cost_of(intent, price, usage)
        charge = Amount(0) if asked is None or not pays else charge_of(intent, asked, usage)
        if impossible or attempt.disputed or cost.claimed is not None or charge.claimed is not None:
            flags |= Flag.DISPUTED
        return Bill(attempt.attempt, intent, usage, cost, charge if pays else None, flags)

    def _post(self, bills: list[Bill]) -> None:
        """The first postings of a request. It counts as one request, whatever is posted for it."""
        for bill in sorted(bills, key=lambda bill: bill.charge is None):
            if bill.charge is not None:
                self._post_original(bill, Book.CHARGE, bill.charge)
            self._post_original(bill, Book.COST, bill.cost)

    def _post_original(self, bill: Bill, book: Book, amount: Amount) -> None:
        record, charge = self.record, book is Book.CHARGE
        intent = bill.intent
        record.flags |= bill.flags
        if charge:
            record.charged += amount.nano
            record.currency = bill_currency(intent) or NO_CURRENCY
            record.input_tokens, record.output_tokens = bill.usage.prompt, bill.usage.answer
        counts = not any(kept.cost is not None or kept.charge is not None for kept in self.kept.values())
        if counts and not charge:  # nobody pays for it so far: it counts where its cost is
            record.currency = NO_CURRENCY if intent.price is None else intent.price.currency
        kept = self.kept[bill.attempt]
        if charge:
            kept.charge = amount.nano
        else:
            kept.cost = amount.nano
        kept.changed = True
        self.postings.append(
            self._posting(
                bill,
                book,
                Kind.ORIGINAL,
                amount.nano,
                claimed=amount.claimed,
                requests=int(counts),
                tokens=(record.input_tokens, record.output_tokens) if charge else (0, 0),
            )
        )

    def _posting(
        self,
        bill: Bill,
        book: Book,
        kind: Kind,
        amount: int,
        *,
        claimed: int | None = None,
        requests: int = 0,
        tokens: tuple[int, int] = (0, 0),
    ) -> Posting:
        intent, number = bill.intent, self._numbering
        name = "cost" if book is Book.COST else "charge"
        original = number.id_of(intent.request, intent.attempt, name)
        late = kind is Kind.LATE
        price = intent.price if book is Book.COST else charged_by(intent)
        currency = None if price is None else price.currency if book is Book.COST else bill_currency(intent)
        return Posting(
            id=number.id_of(intent.request, intent.attempt, f"{name}.late") if late else original,
            book=book,
            kind=kind,
            request=intent.request,
            attempt=intent.attempt,
            corrects=original if late else None,
            currency=currency or NO_CURRENCY,
            amount=amount,
            claimed=claimed,
            posted=self._now,
            admitted=micros(intent.ts),
            payer=intent.payer,
            model=intent.model,
            endpoint=intent.endpoint,
            price="" if price is None else price.version,
            usage=msgspec.json.encode(bill.usage).decode(),
            flags=bill.flags,
            requests=requests,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
        )

    def _estimate(self) -> None:
        """From an End that lacks Intents, or from the last Marks. What has no price stays out of the books, flagged."""
        record = self.record
        parked = None if record.early is None else decode(record.early)
        if isinstance(parked, End):
            attempts, outcome = [attempt for attempt in parked.attempts if attempt.usage is not None], parked.outcome
        else:
            attempts, outcome = self._guess(), "abandoned"
            record.outcome = outcome
        record.flags |= Flag.ABANDONED | Flag.ESTIMATED
        priced = [attempt for attempt in attempts if attempt.attempt in self.kept and self.kept[attempt.attempt].intent]
        if len(priced) < len(attempts):
            record.flags |= Flag.UNKNOWN_ATTEMPT
        record.ended = self._now
        self._post([self._bill(attempt, outcome) for attempt in priced])

    def _guess(self) -> list[Attempt]:
        """By its last Mark; the last attempt's prompt has reached its provider, if nothing else is known of it."""
        last = max(self.kept, default=0)
        guesses = []
        for number, kept in sorted(self.kept.items()):
            if kept.mark is not None:
                guesses.append(Attempt(number, "", kept.mark.usage, estimated=True, delivered=number == last))
            elif number == last and kept.intent is not None:
                guesses.append(Attempt(number, "", Billable(input=kept.intent.input_estimate), estimated=True))
        return guesses

    def _correct(self, bills: list[Bill]) -> None:
        """Posts what the estimate was wrong by: what rises first, so that what falls is bounded by refunds last."""
        record = self.record
        record.flags &= ~(Flag.ESTIMATED | Flag.DISPUTED | Flag.UNKNOWN_ATTEMPT)
        tokens = (record.input_tokens, record.output_tokens)
        record.input_tokens = record.output_tokens = 0
        found = {bill.attempt: bill for bill in bills}
        for number, kept in self.kept.items():
            if number not in found and kept.intent is not None and kept.cost is not None:
                found[number] = Bill(number, kept.intent, Billable(), Amount(0), None, 0)
        for number, bill in sorted(found.items()):
            record.flags |= bill.flags
            self._correct_cost(bill, self.kept[number])
        for bill in sorted(found.values(), key=lambda bill: bill.charge is None):
            self._correct_charge(bill, self.kept[bill.attempt], tokens)

    def _correct_cost(self, bill: Bill, kept: Kept) -> None:
        if kept.stated:
            return
        if kept.cost is None:
            self._post_original(bill, Book.COST, bill.cost)
        elif bill.cost.nano != kept.cost:
            change = bill.cost.nano - kept.cost
            self.postings.append(self._posting(bill, Book.COST, Kind.LATE, change, claimed=bill.cost.claimed))
            self.record.flags |= Flag.CORRECTED

    def _correct_charge(self, bill: Bill, kept: Kept, guessed: tuple[int, int]) -> None:
        """guessed: tokens of the estimate, which are those of the one attempt that it charged."""
        if kept.charge is None:
            if bill.charge is not None:
                self._post_original(bill, Book.CHARGE, bill.charge)
            return
        record = self.record
        owed, used = 0, (0, 0)
        if bill.charge is not None:
            owed, used = bill.charge.nano, (bill.usage.prompt, bill.usage.answer)
            record.input_tokens, record.output_tokens = used
        change = max(owed - kept.charge, record.refunded - record.charged)
        tokens = (used[0] - guessed[0], used[1] - guessed[1])
        if change or any(tokens):
            record.charged += change
            record.flags |= Flag.CORRECTED
            self.postings.append(self._posting(bill, Book.CHARGE, Kind.LATE, change, tokens=tokens))
