"""Logins between their two halves: kept on the server, given back once, to the browser that began.

Owns how many and how long. One process's memory: a login whose second half reaches another process begins again.
Single event loop.
"""

import hmac
from collections.abc import Callable

from fastpath.identity.token.login import Login

#: People who type a password and look for their second factor, s.
PATIENCE = 600.0


class Logins:
    """Open logins. monotonic: a clock in seconds. room: how many; the oldest makes way, so a flood fills no memory."""

    def __init__(self, monotonic: Callable[[], float], room: int = 1000) -> None:
        self._monotonic = monotonic
        self._room = room
        self._open: dict[str, tuple[float, Login]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def keep(self, login: Login) -> None:
        """Remembers a login that has begun."""
        while len(self._open) >= self._room:
            del self._open[next(iter(self._open))]
        self._open[login.state] = (self._monotonic(), login)

    def take(self, state: str, binding: str) -> Login | None:
        """The login of this state, once, if it is not too old and this browser's. binding: its cookie."""
        began, login = self._open.pop(state, (0.0, None))
        if login is None or self._monotonic() - began > PATIENCE:
            return None
        same = hmac.compare_digest(login.binding.encode(), binding.encode(errors="replace"))
        return login if same else None
