"""What the rules do to the bytes of one direction: bytes in, bytes and pauses out.

Owns offsets and event counts. Does no I/O and never sleeps. Concurrency: one direction of one connection, one caller.
"""

import random
from collections.abc import Iterator, Sequence

from loadtest.faultd.rules import Bandwidth, Corrupt, Cut, Duplicate, FlowRule, How, Latency, Slice, SlowClose

TICK_S = 0.02
"""Longest stretch of bytes that a bandwidth rule lets through at once, in seconds."""


class CutPoint:
    """Finds where a cut falls in a stream that comes in pieces."""

    __slots__ = ("_bytes_left", "_events_left", "_tail", "how")

    def __init__(self, rule: Cut) -> None:
        self.how: How = rule.how
        self._bytes_left = 0 if rule.before_headers else rule.after_bytes
        self._events_left = rule.after_events or 0
        self._tail = b""

    def find(self, data: bytes) -> int | None:
        """How many bytes of `data` (not empty) may still pass, or None when the cut lies beyond it."""
        return self._find_event(data) if self._bytes_left is None else self._find_byte(data, self._bytes_left)

    def _find_byte(self, data: bytes, left: int) -> int | None:
        if len(data) >= left:
            return left
        self._bytes_left = left - len(data)
        return None

    def _find_event(self, data: bytes) -> int | None:
        joined, at = self._tail + data, 0
        while (found := joined.find(b"\n\n", at)) >= 0:
            at = found + 2
            self._events_left -= 1
            if self._events_left == 0:
                return at - len(self._tail)
        self._tail = b"\n" if at < len(joined) and joined.endswith(b"\n") else b""
        return None


class Course:
    """The faults on one direction of one connection. `applied` collects the names of those that acted, in order."""

    def __init__(self, rules: Sequence[FlowRule], rand: random.Random) -> None:
        self.applied: list[str] = []
        self._random = rand
        self._latencies = [rule for rule in rules if isinstance(rule, Latency)]
        self._rates = [rule.bytes_per_s for rule in rules if isinstance(rule, Bandwidth)]
        self._slices = [rule for rule in rules if isinstance(rule, Slice)]
        self._cuts = [CutPoint(rule) for rule in rules if isinstance(rule, Cut)]
        self._corruptions = [rule for rule in rules if isinstance(rule, Corrupt)]
        self._duplicates = [rule for rule in rules if isinstance(rule, Duplicate)]
        self._closes = [rule for rule in rules if isinstance(rule, SlowClose)]
        self._copies = {id(rule): bytearray() for rule in self._duplicates}
        self._offset = 0

    def delay(self) -> float:
        """Seconds by which the read just made is late."""
        total = sum(rule.mean_ms + self._random.uniform(-rule.jitter_ms, rule.jitter_ms) for rule in self._latencies)
        if self._latencies:
            self._note("latency")
        return max(0.0, total / 1000)

    def alter(self, data: bytes) -> bytes:
        """The bytes to forward instead of `data`, after corruption and duplication."""
        start, self._offset = self._offset, self._offset + len(data)
        for rule in self._corruptions:
            if start <= rule.offset < self._offset:
                at = rule.offset - start
                data = data[:at] + bytes((rule.byte,)) + data[at + 1 :]
                self._note("corrupt")
        for doubling in sorted(self._duplicates, key=lambda rule: rule.offset + rule.length, reverse=True):
            data = self._double(doubling, data, start)
        return data

    def cut(self, data: bytes) -> tuple[bytes, How | None]:
        """What of `data` may pass, and how to end the connection behind it (None: go on)."""
        found: list[tuple[int, How]] = [(at, p.how) for p in self._cuts if (at := p.find(data)) is not None]
        if not found:
            return data, None
        at, how = min(found, key=lambda item: item[0])
        self._note("cut")
        return data[:at], how

    def pieces(self, data: bytes) -> Iterator[tuple[bytes, float]]:
        """Splits `data` into (piece, pause after it in seconds)."""
        size, rate = self._piece_size(len(data)), min(self._rates, default=0)
        pause = max((rule.delay_ms / 1000 for rule in self._slices), default=0.0)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            yield piece, max(pause, len(piece) / rate if rate else 0.0)

    def close_delay(self) -> float:
        """Seconds to hold a FIN back."""
        if self._closes:
            self._note("slow_close")
        return max((rule.delay_ms / 1000 for rule in self._closes), default=0.0)

    def _piece_size(self, length: int) -> int:
        sizes = [max(1, length)]
        if self._slices:
            sizes += [rule.size for rule in self._slices]
            self._note("slice")
        if self._rates:
            sizes.append(max(1, int(min(self._rates) * TICK_S)))
            self._note("bandwidth")
        return min(sizes)

    def _double(self, rule: Duplicate, data: bytes, start: int) -> bytes:
        copy, end = self._copies[id(rule)], rule.offset + rule.length
        copy += data[max(0, rule.offset - start) : max(0, end - start)]
        if len(copy) < rule.length or not copy:
            return data
        at, doubled = end - start, bytes(copy)
        copy.clear()
        self._note("duplicate")
        return data[:at] + doubled + data[at:]

    def _note(self, name: str) -> None:
        if name not in self.applied:
            self.applied.append(name)
