"""The message of an alert and its signature, after the Standard Webhooks specification (standardwebhooks.com).

Owns the JSON, the three headers and the form of a secret: `whsec_` and 24 to 64 bytes in base64. The id stays the same
however often an alert is sent, so that a receiver can leave out what it has; the time is that of the try. Pure.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec

from fastpath.money.amount import format_nano
from fastpath.settings.secret import Secret

PREFIX: Final = "whsec_"
TYPE: Final = "budget.threshold_reached"
_SIZES: Final = range(24, 65)
_MICROS: Final = 1_000_000


class Data(msgspec.Struct, frozen=True):
    """What happened. Amounts are decimal texts, of the currency or tokens."""

    tenant: str
    scope: str
    owner: str
    budget: str
    kind: str
    currency: str
    percent: int
    action: str
    spent: str
    amount: str
    period: str
    period_start: str


class Envelope(msgspec.Struct, frozen=True):
    """The whole body."""

    type: str
    timestamp: str
    data: Data


def new_secret() -> Secret:
    """32 random bytes."""
    return Secret(PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def key_of(secret: Secret) -> bytes:
    """The bytes that sign. Raises ValueError, which says what a secret must be and nothing of this one."""
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or len(key) not in _SIZES:
        raise ValueError(f"a signing secret is {PREFIX} and 24 to 64 random bytes in base64")
    return key


def webhook_id(alert: str) -> str:
    """Of every message about this alert."""
    return f"alert_{alert}"


def sign(secret: Secret, message: str, at: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers of one try. at: Unix seconds. Raises ValueError for a secret that is none."""
    signed = b"%s.%d.%s" % (message.encode(), at, body)
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return (
        ("webhook-id", message),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", f"v1,{base64.b64encode(digest).decode()}"),
    )


def body_of(alert: Any) -> bytes:
    """The body for a row of `budget_alerts`: the same bytes at every try."""
    data = Data(
        tenant=alert.tenant,
        scope=alert.scope,
        owner=alert.name,
        budget=alert.budget,
        kind=alert.kind,
        currency=alert.currency,
        percent=alert.percent,
        action=alert.action,
        spent=amount_text(alert.kind, alert.spent),
        amount=amount_text(alert.kind, alert.whole),
        period=period_text(alert.span, alert.days),
        period_start=start_text(alert.period, alert.days),
    )
    crossed = datetime.fromtimestamp(alert.crossed_at // _MICROS, UTC).isoformat().replace("+00:00", "Z")
    return msgspec.json.encode(Envelope(TYPE, crossed, data))


def amount_text(kind: str, amount: int) -> str:
    """Money as decimal text of its currency, tokens as they are."""
    return format_nano(amount) if kind == "money" else str(amount)


def period_text(span: str, days: int) -> str:
    """`day`, `month`, or `7 days`."""
    return f"{days} days" if span == "rolling" else span


def start_text(period: int, days: int) -> str:
    """The first day of the period; of a rolling one, of the window that ends with the day of the alert."""
    return (date(1970, 1, 1) + timedelta(days=max(0, period - days + 1))).isoformat()
