"""The record of one decision: who asked, where it went and why, how that ended. What every explanation is a view of.

Owns the schema and its MessagePack form (an array; a field may be added at the end with a default, none removed or
moved; `layout` grows when that is not enough). Names and numbers alone: no prompt, answer, header, URL or secret has a
field here. Does not own where records lie (`archive`, `shelf`) or who may see what of one (`view`). Pure.
"""

from typing import Final

import msgspec

from fastpath.outbox.facts import Payer
from scheduler.choice import Choice

LAYOUT: Final = 1
#: Bytes of a request's id.
ID_SIZE: Final = 16
#: Bytes of the id that records are looked up by; what is found is compared whole.
KEY_SIZE: Final = 8
ID_PREFIX: Final = "req_"


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that failed. cause and moment: as in the access log."""

    endpoint: str
    cause: str
    moment: str


class Tokens(msgspec.Struct, frozen=True, array_like=True):
    """What was used. None: nobody knows."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    estimated: bool = False
    disputed: bool = False


class Times(msgspec.Struct, frozen=True, array_like=True):
    """Milliseconds; overhead in microseconds."""

    total_ms: float
    ttft_ms: float | None = None
    overhead_us: int | None = None
    queue_ms: float = 0.0


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """Everything that is kept of one request. "" where there is none."""

    layout: int
    request: bytes  # 16 bytes
    ts: float  # Unix seconds of its arrival
    payer: Payer
    path: str  # template of its API path
    stream: bool
    asked: str  # the model that the caller named
    model: str  # the one that served, or was to
    version: str  # of that model, as the settings say it
    endpoint: str
    tier: str
    region: str
    data_class: str
    class_from: str  # where the class comes from: request or key
    policy: str  # the rule that decided
    choices: tuple[Choice, ...]  # one per attempt, and one more where nobody was left
    failures: tuple[Failure, ...]
    attempts: int
    tokens: Tokens
    cost_nano: int | None
    currency: str
    times: Times
    status: int
    outcome: str
    error: str
    clamped: str
    prompt_hash: bytes  # keyed per tenant (`fingerprint`)
    settings_version: int
    cache_hit: bool = False
    evidence: bytes = b""  # what the last choice was made by, for `replay`


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Decision)


class DecisionError(Exception):
    """Bytes that are no record of a decision, or one of a later layout."""


def encode(decision: Decision) -> bytes:
    """What is stored: the key that it is found by, then the record."""
    return decision.request[:KEY_SIZE] + _ENCODER.encode(decision)


def decode(data: bytes) -> Decision:
    """Reverse of `encode`. Raises DecisionError."""
    try:
        found = _DECODER.decode(memoryview(data)[KEY_SIZE:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecisionError(f"not a decision: {type(error).__name__}") from error
    if found.layout != LAYOUT or len(found.request) != ID_SIZE or found.request[:KEY_SIZE] != data[:KEY_SIZE]:
        raise DecisionError(f"not a decision of layout {LAYOUT}")
    return found


def id_of(text: str) -> bytes | None:
    """The 16 bytes of `req_` and 32 hex digits, as `x-request-id` of an answer has it; None for anything else."""
    digits = text.removeprefix(ID_PREFIX)
    if len(digits) != 2 * ID_SIZE or set(digits) - set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)


def name_of(request: bytes) -> str:
    """Reverse of `id_of`."""
    return ID_PREFIX + request.hex()
