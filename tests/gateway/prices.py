"""Price lists, bills and answers for the tests of money: numbers that tell every part of a bill from the others."""

import json
from pathlib import Path
from typing import Any

from backends.mock import Fault
from fastpath.money.price import Billable
from scheduler.clock import SystemClock

#: Units per million tokens, by the part of a bill: all different, so that no part can stand for another.
RATES = {
    "input": 3, "cached": 1, "cache_write": 5, "cache_write_long": 7, "audio_input": 17, "output": 11, "reasoning": 13,
    "audio_output": 19,
}  # fmt: skip
ROW = ", ".join(f"{part}: {rate}" for part, rate in RATES.items())


def nano_by_hand(usage: Billable) -> int:
    """What RATES make of a usage: a unit per million tokens is 1,000 nano-units for one."""
    return sum(getattr(usage, part) * rate * 1_000 for part, rate in RATES.items())


def write_list(folder: Path, rows: str, *, provider: str = "own", currency: str = "USD", rates: str = "") -> str:
    """A price list of one provider; `rows` and `rates` are YAML list items. Its path."""
    path = folder / "prices.yaml"
    path.write_text(
        f"providers:\n  - provider: {provider}\n    currency: {currency}\n    source: a test\n    read: 2026-01-01\n"
        f"    prices:\n{rows}\n" + (f"rates:\n{rates}\n" if rates else "")
    )
    return str(path)


def row(model: str, prices: str = ROW, start: str = "2020-01-01") -> str:
    return f"      - {{model: {model}, from: {start}, {prices}}}"


def whole(answer: Any) -> Fault:
    """This JSON as the whole answer."""
    body = json.dumps(answer).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return Fault(raw=head + body)


def streamed(*events: Any, done: bool = True) -> Fault:
    """These events as the whole stream."""
    lines = [b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) for event in events]
    body = b"\n\n".join([*lines, *([b"data: [DONE]"] if done else [])]) + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    return Fault(raw=head + body)


class Wall(SystemClock):
    """The real monotonic clock with a wall clock that a test sets."""

    def __init__(self, now: float) -> None:
        self.wall = now

    def now(self) -> float:
        return self.wall
