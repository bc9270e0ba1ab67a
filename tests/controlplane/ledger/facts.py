"""Facts as workers write them, with numbers that are easy to add up."""

from controlplane.ledger.balances import Period
from controlplane.ledger.tables import QUARTER_MICROS
from fastpath.money.price import Billable, Price
from fastpath.outbox.facts import Attempt, End, Intent, Mark, Payer

SECRET = bytes(range(32))
T0 = 1_700_000_100.0
ACME = Payer("acme", "research", "ada", "key-1")
#: 3 nano-units for a token in, 15 for a token out.
PRICE = Price("gpt-x@2026-01-01", "USD", input=3_000, output=15_000)
MARKUP = 100_000  # 10 %
USAGE = Billable(input=1_000, output=200)
COST = 1_000 * 3 + 200 * 15
CHARGE = COST * 11 // 10
RESERVED = 50_000
#: All that these facts can fall into.
ALWAYS = Period(0, 4_000_000_000 * 1_000_000 // QUARTER_MICROS * QUARTER_MICROS)


class Now:
    """The wall clock of a test."""

    def __init__(self) -> None:
        self.seconds = T0

    def __call__(self) -> float:
        return self.seconds


def request_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def intent(
    request: int | bytes,
    attempt: int = 1,
    *,
    payer: Payer = ACME,
    price: Price | None = PRICE,
    reserved: int = RESERVED,
    ts: float = T0,
    endpoint: str = "openai-1",
) -> Intent:
    key = request if isinstance(request, bytes) else request_id(request)
    return Intent(key, attempt, ts, payer, "gpt-x", endpoint, price, MARKUP, reserved, 1_000, 500)


def mark(request: int | bytes, attempt: int = 1, usage: Billable = USAGE) -> Mark:
    return Mark(request if isinstance(request, bytes) else request_id(request), attempt, usage, True)


def end(
    request: int | bytes,
    *attempts: Attempt,
    payer: Payer = ACME,
    outcome: str = "complete",
    status: int = 200,
    ts: float = T0 + 1,
) -> End:
    """With no attempts named: one, delivered, of the usual usage."""
    key = request if isinstance(request, bytes) else request_id(request)
    return End(key, ts, payer, attempts or (delivered(),), status, outcome, "gpt-x", "/v1/chat/completions")


def refused(request: int) -> End:
    return End(request_id(request), T0, ACME, (), 429, "refused", "gpt-x", "/v1/chat/completions")


def delivered(attempt: int = 1, usage: Billable | None = USAGE) -> Attempt:
    return Attempt(attempt, "openai-1", usage, delivered=True)


def failed(attempt: int, usage: Billable | None = None) -> Attempt:
    return Attempt(attempt, "openai-1", usage)
