"""Which data class a request has: P0 the most sensitive, P2 public.

Owns the order of whoever may say it. Does not own what a class may do (`fastpath.policy`), nor which classes a key may
send. The strictest word wins, and a word that means nothing is refused: a slip must not make data public.
"""

from fastpath import errors
from fastpath.context import RequestContext
from fastpath.policy.question import CLASSES
from fastpath.settings import DataClass

HEADER = b"x-fastpath-data-class"
_CLASSES: dict[bytes, DataClass] = {name.encode(): name for name in CLASSES}  # the strictest first
_DEFAULT: DataClass = "P2"  # neither keys nor tenants have a class of their own


def data_class(ctx: RequestContext) -> DataClass:
    """The class of a request, from its header. Raises 400 for what is no class."""
    exchange = ctx.exchange
    if HEADER not in exchange.fields:
        return _DEFAULT
    said = {value.strip(b" \t") for value in exchange.values(HEADER)}
    if not said <= _CLASSES.keys():
        raise errors.invalid_request("The header x-fastpath-data-class must be P0, P1 or P2.")
    return next(name for word, name in _CLASSES.items() if word in said)
