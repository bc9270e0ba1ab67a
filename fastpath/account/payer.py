"""Whose account a key's requests and budgets go to, as the ledger names it. Pure."""

from fastpath.outbox.facts import Payer
from fastpath.settings import Key

NOBODY = Payer()
_IDS = len(Payer.__struct_fields__)


def payer_of(key: Key | None) -> Payer:
    """Ids where the control plane gave them, else the names of the settings file."""
    if key is None:
        return NOBODY
    ids = key.ids
    if len(ids) == _IDS:
        return Payer(*ids)
    return Payer(key.tenant or "", key.team or "", key.user or "", key.name)
