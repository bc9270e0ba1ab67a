"""Which facts of the outbox can be alerts: nothing that comes from there is believed unseen. Pure."""

from typing import Final

from fastpath.outbox.facts import Alert

_MOST_TEXT: Final = 1_024
_MOST_AMOUNT: Final = 2**62
_MOST_DAY: Final = 2_900_000  # since 1970: what calendars can write
_MOST_MOMENT: Final = 86_400.0 * _MOST_DAY
_SCOPES: Final = ("tenant", "team", "user", "key")
_ACTIONS: Final = ("warn", "degrade", "block")


def fault_of(alert: Alert) -> str | None:
    """Why a fact cannot be an alert; None: it can. Types were checked when it was decoded, values are checked here."""
    texts = (alert.tenant, *alert.owner, alert.budget, alert.currency)
    whole = "".join(texts)
    if len(whole) > _MOST_TEXT or not all(character.isprintable() for character in whole):
        return "its texts are too long, or cannot be stored"
    if alert.scope not in _SCOPES or alert.kind not in ("money", "tokens") or alert.action not in _ACTIONS:
        return "its scope, kind or action is unknown"
    if alert.span not in ("day", "month", "rolling") or not 1 <= alert.days <= 31 or len(alert.currency) != 3:
        return "its period or currency is none"
    if not (0 <= alert.percent <= 10_000 and 0 <= alert.period <= _MOST_DAY and 0 <= alert.ts <= _MOST_MOMENT):
        return "its percent, period or moment is out of range"
    if not (0 <= alert.spent <= _MOST_AMOUNT and 0 <= alert.whole <= _MOST_AMOUNT):
        return "an amount is out of range"
    return None
