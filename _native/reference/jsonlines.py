"""Twin of _native/jsonlines."""

import math
from collections.abc import Iterable


class JsonLines:
    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._open: list[str] = []

    @property
    def count(self) -> int:
        return len(self._lines)

    def begin(self) -> None:
        self._open = []

    def _member(self, name: str, value: str) -> None:
        value.encode()  # a lone surrogate is refused here, before anything is written
        self._open.append(f'"{name}":{value}')

    def text(self, name: str, value: str | None) -> None:
        self._member(name, "null" if value is None else _quote(value))

    def integer(self, name: str, value: int | None) -> None:
        if value is not None and not -(2**63) <= value < 2**63:
            raise OverflowError(value)
        self._member(name, "null" if value is None else str(value))

    whole = integer

    def real(self, name: str, value: float | None, places: int) -> None:
        if not 0 <= places <= 9:
            raise ValueError(f"not a number of decimals: {places}")
        if value is None or not abs(value) <= 9e9:
            self._member(name, "null")
            return
        scaled = round(abs(value) * 10.0**places)  # half to even, as llrint
        whole, rest = divmod(scaled, 10**places)
        sign = "-" if math.copysign(1.0, value) < 0 and scaled else ""
        self._member(name, f"{sign}{whole}.{rest:0{max(1, places)}d}")

    def flag(self, name: str, value: bool) -> None:
        self._member(name, "true" if value else "false")

    def texts(self, name: str, values: Iterable[str] | None) -> None:
        self._member(name, "null" if values is None else "[" + ",".join(_quote(value) for value in values) + "]")

    def end(self) -> None:
        self._lines.append(("{" + ",".join(self._open) + "}\n").encode())
        self._open = []

    def cancel(self) -> None:
        self._open = []

    def take(self) -> bytes:
        lines, self._lines = b"".join(self._lines), []
        return lines


_NAMED = {'"': '\\"', "\\": "\\\\"}


def _quote(value: str) -> str:
    return '"' + "".join(_NAMED.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
