"""JSON objects, one per line, written member by member into one buffer (see jsonlines.pxd)."""

from collections.abc import Iterable
from typing import final

@final
class JsonLines:
    """Whole lines, and perhaps one that is being written. Names are written as they are: they need no escapes.

    One thread writes; any thread that holds the interpreter lock may `take`. A value of None is written as null.
    """

    @property
    def count(self) -> int:
        """Whole lines that wait to be taken."""

    def begin(self) -> None:
        """Opens a line; one that was open is forgotten."""

    def text(self, name: str, value: str | None) -> None:
        """Raises UnicodeEncodeError for a lone surrogate."""

    def integer(self, name: str, value: int | None) -> None:
        """Raises OverflowError beyond 64 bits."""

    def whole(self, name: str, value: int) -> None:
        """As `integer`, of a number that is never None: in Cython without an object."""

    def real(self, name: str, value: float | None, places: int) -> None:
        """Rounded to `places` (at most 9) decimals; null for NaN, the infinities and what is beyond 9e9."""

    def flag(self, name: str, value: bool) -> None: ...
    def texts(self, name: str, values: Iterable[str] | None) -> None: ...
    def end(self) -> None:
        """Closes the line: now it counts."""

    def cancel(self) -> None:
        """Forgets the open line."""

    def take(self) -> bytes:
        """All whole lines, each with its newline; they wait no more."""
