"""A record of the outbox while it is written: MessagePack as msgspec writes it, value by value, and nothing is built.

What an array holds is its caller's business: `fastpath.account.wording` writes facts, `fastpath.outbox.facts` reads
them. Belongs to one event loop.
"""

from typing import Protocol, final

class _Writer(Protocol):
    """Where records go: an `_native.outbox.Appender`, which takes them out of the buffer, or whatever stands for it."""

    def put(self, data: bytes, /) -> bool: ...
    def put_opening(self, data: bytes, /) -> bool: ...
    def put_closing(self, data: bytes, /) -> bool: ...

@final
class Entry:
    """One record after the other: `begin`, values in their order, then one of `put*`, or `take`."""

    def __init__(self) -> None: ...
    def begin(self) -> None:
        """Forgets what was written."""

    def array(self, size: int) -> None:
        """So many values follow and are one. Raises ValueError unless there are 0 to 15."""

    def blob(self, value: bytes) -> None:
        """Raises TypeError for None, OverflowError for more than 2**32 - 1 bytes."""

    def text(self, value: str) -> None:
        """Raises UnicodeEncodeError for half a surrogate pair, TypeError for None, OverflowError as `blob` does."""

    def whole(self, value: int) -> None:
        """A signed integer of 64 bits. Raises OverflowError."""

    def real(self, value: float) -> None: ...
    def flag(self, value: bool) -> None: ...
    def nothing(self) -> None: ...
    def raw(self, value: bytes) -> None:
        """Values that are MessagePack already, however long. Raises TypeError for None."""

    def take(self) -> bytes:
        """What was written since `begin`."""

    def put(self, writer: _Writer) -> bool:
        """Hands it over as the writer's method of this name does."""

    def put_opening(self, writer: _Writer) -> bool: ...
    def put_closing(self, writer: _Writer) -> bool: ...

@final
class Memo:
    """What was made of objects, by which object it is and not by what is equal to it: nothing is hashed or compared.

    Holds the latest few thousand, and the objects with them; another one may push one out.
    """

    def __init__(self) -> None: ...
    def get(self, of: object) -> object:
        """What was put for this very object; None: nothing, or not any more."""

    def put(self, of: object, made: object) -> None: ...
