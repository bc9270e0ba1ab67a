"""How much bills may lack at most, as of the last look.

Owns the figures that are shown, and what is said when they cannot be had: nothing else waits for them. Does not own the
sums (`controlplane.ledger.unaccounted`). One task looks.
"""

import logging
from collections.abc import Callable
from typing import Final

from controlplane.ledger.books import Ledger
from controlplane.ledger.tables import NO_CURRENCY
from controlplane.store.errors import StoreError

TELL_EVERY: Final = 3_600.0
"""Seconds between two complaints."""

_log = logging.getLogger("fastpath.settlement")


class Losses:
    """bounds: nano-units by currency. unbounded: requests that have none, of which nobody can tell.

    monotonic: seconds that only pass.
    """

    def __init__(self, ledger: Ledger, monotonic: Callable[[], float]) -> None:
        self.bounds: dict[str, int] = {}
        self.unbounded = 0
        self._ledger = ledger
        self._monotonic = monotonic
        self._tell_at = monotonic()

    async def look(self) -> None:
        """Reads them anew. When that fails they stay as they were, and it is said, once an hour."""
        try:
            found = await self._ledger.lost_bound()
        except Exception as error:
            self._tell(error)
            return
        self.bounds = {one.currency: one.amount for one in found if one.currency != NO_CURRENCY}
        self.unbounded = sum(one.requests for one in found if one.currency == NO_CURRENCY)

    def _tell(self, error: Exception) -> None:
        if self._monotonic() < self._tell_at:
            return
        self._tell_at = self._monotonic() + TELL_EVERY
        told = str(error) or type(error).__name__
        ours = not isinstance(error, StoreError)
        _log.warning("how much bills may lack cannot be summed, what is shown is old: %s", told, exc_info=ours)
