"""The records of the outbox: facts about requests, and only facts that may be stored.

Owns the schema, one Struct per kind, and its MessagePack form (arrays, tagged by number; a field may be added at the
end, none removed). Does not own segments (`writer`, `reader`). No prompt, answer, header or URL has a field here.
A request writes one Intent before its first upstream byte, Marks while content flows, one End. Ids are the server's.
None can be part of a cycle, so the collector need not look at them (gc=False): it took a sixth of settling's CPU.
"""

from collections.abc import Callable

import msgspec

from fastpath.money.currency import Rate
from fastpath.money.price import Billable, Price


class Payer(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Whose request it is: names or ids as the snapshot has them, "" where there is none."""

    tenant: str = ""
    team: str = ""
    user: str = ""
    key: str = ""  # the key's id, never a part of its secret


class Intent(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=1):
    """An attempt is about to be sent: from here on it may cost something."""

    request: bytes  # 16 bytes
    attempt: int  # 1, 2, 3
    ts: float  # Unix seconds of admission: budgets and prices are by this moment
    payer: Payer
    model: str  # as the caller named it
    endpoint: str
    price: Price | None  # what the provider asks; None: no price is known, nothing is charged
    markup_ppm: int
    reserved: int  # nano-units held for the whole request, in the tenant's currency
    input_estimate: int  # tokens
    output_most: int  # tokens; 0: the caller set no limit
    charge: Price | None = None  # what the tenant is asked, before markup; None: as `price`
    currency: str = ""  # of the tenant's bill; "": as the price that it is charged by
    rate: Rate | None = None  # of the day of admission, from that price's currency to the bill's; None: the same


class Mark(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=2):
    """How far a running attempt is; a later mark replaces an earlier one."""

    request: bytes
    attempt: int
    usage: Billable
    estimated: bool  # counted by us, not told by the provider


class Attempt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How one attempt ended. `usage` None: the provider charges nothing for it."""

    attempt: int
    endpoint: str
    usage: Billable | None
    estimated: bool = False
    disputed: bool = False  # the provider's usage was impossible and was clamped
    delivered: bool = False  # this one's answer went to the caller: it is what the tenant pays


class End(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=3):
    """The request is over. Its Intents say price and payer; a request refused before its first attempt has none."""

    request: bytes
    ts: float
    payer: Payer
    attempts: tuple[Attempt, ...]
    status: int
    outcome: str  # as in the access log
    model: str = ""
    path: str = ""  # the template of its API path


class Alert(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """So much of a budget is spent. Not of one request; the same alert may be told by several workers, in other words.

    Amounts: tokens, or nano-units of `currency`. It is the same by tenant, owner, budget, kind, currency, percent and
    period, which is days since 1970: the first day of a calendar period, the day itself of a rolling budget.
    """

    ts: float  # Unix seconds
    tenant: str  # as in Payer
    scope: str  # whose budget: tenant, team, user or key
    owner: tuple[str, ...]  # its names in the settings
    budget: str
    kind: str  # tokens or money
    currency: str
    percent: int
    action: str
    spent: int
    whole: int
    span: str  # day, month or rolling
    days: int  # length of a rolling budget, else 1
    period: int


Fact = Intent | Mark | End
Message = Fact | Alert
"""Whatever a worker writes. Facts are of one request and are billed; an alert is of a budget and is sent."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Message)

encode: Callable[[Message], bytes] = _ENCODER.encode
"""The bytes of a message."""


def decode(data: bytes) -> Fact:
    """Raises msgspec.DecodeError (of which ValidationError is one) for anything else, an Alert among it."""
    found = decode_message(data)
    if isinstance(found, Alert):
        raise msgspec.ValidationError("an alert is not of a request")
    return found


def decode_message(data: bytes) -> Message:
    """Raises msgspec.DecodeError for anything else."""
    try:
        found: Message = _DECODER.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"not a fact: {type(error).__name__}") from error
    return found
