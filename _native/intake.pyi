"""Takes callers' connections off a listening socket, and turns away those that are more than can be served.

A caller that is turned away gets a prebuilt answer, for a fifth of what serving it takes; its request is looked at for
its length and its beginning alone. Everything runs on the loop's thread, in the turns of a Poller.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, type_check_only

from _native.transport import Poller

@type_check_only
class Owner(Protocol):
    """Who decides whether connections are accepted at all."""

    def room(self) -> int:
        """Connections that may be taken now. At 0 `pause` is called."""

    def pause(self) -> None: ...
    def wait(self, reason: str) -> None:
        """The kernel has none to give: pauses."""

    def turned_away(self, callers: list[tuple[str, Any]]) -> None:
        """Request id and address of each caller that was turned away in this turn."""

class Pace:
    """How fast connections are taken.

    ceiling: the descriptor number from which on callers wait. slice (s): what new connections may take of a turn.
    patience (s): how long the queue may stand in an overload. interval, bearable (s): see Overload.
    """

    def __new__(cls, ceiling: int, slice: float, patience: float, interval: float, bearable: float) -> Pace: ...

class Overload:
    """Whether more connections come than can be served.

    It begins when a queue has stood for `interval` seconds without being empty once, those in it wait longer than
    `bearable` seconds, and it does not shrink: a burst that is being worked off is none. An Intake looks anew when the
    thread had to wait for the CPU for longer than `bearable`. It ends when, for as long, one in ten at most had to be
    turned away.
    """

    def __new__(cls, interval: float, bearable: float) -> Overload: ...
    @property
    def active(self) -> bool: ...
    @property
    def interval(self) -> float: ...
    @property
    def bearable(self) -> float: ...
    def note(self, now: float, taken: int, refused: int, waiting: int) -> None:
        """What a turn did at `now` (seconds of any one clock), and how many it left in the queue."""

    def rest(self) -> None:
        """Nobody is taken for a while: a queue that stands meanwhile says nothing of what can be served."""

class Refusal:
    """An answer with a place of 36 bytes, maybe in several spots, for the request's id."""

    def __new__(cls, text: bytes, place: bytes) -> Refusal: ...

class Intake:
    """One listening socket on `poller`, which stays the caller's to close. `protocol` makes one for each connection; it
    needs `doubt` besides asyncio's methods: what such a one hears first it brings to `judge`."""

    def __new__(cls, poller: Poller, fd: int, protocol: Callable[[], Any], owner: Owner, pace: Pace) -> Intake: ...
    @property
    def overload(self) -> Overload: ...
    def set_answers(self, first: tuple[bytes, ...], answers: Sequence[tuple[bytes, Refusal]]) -> None:
        """first: beginnings of requests that are always served. answers: by the beginning of a request; the last for
        all others, so an empty one."""

    def resume(self) -> None: ...
    def pause(self) -> None:
        """Leaves callers in the kernel's queue."""

    def take_all(self) -> None:
        """Takes whatever waits now, overload or not."""

    def ease(self) -> None:
        """Looks whether the overload is over; for the times when nobody comes."""

    def judge(self, data: bytes) -> tuple[str, bytes] | None:
        """Request id and answer for a doubted caller whose request begins like this; None to serve it."""

    def close(self) -> None:
        """Lets go of the socket, which the owner closes."""
