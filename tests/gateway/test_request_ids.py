"""Ids of requests: in order of time, and never the same."""

import re

from fastpath.clock import ManualClock
from fastpath.runtime import RequestIds


def test_they_begin_with_the_millisecond_of_their_batch() -> None:
    clock = ManualClock(1_790_000_000.5)
    ids = RequestIds(clock)
    first = [ids.next() for _ in range(256)]
    clock.advance(0.25)
    second = [ids.next() for _ in range(256)]
    assert {one[:16] for one in first} == {f"req_{1_790_000_000_500:012x}"}
    assert {one[:16] for one in second} == {f"req_{1_790_000_000_750:012x}"}
    assert max(first) < min(second)


def test_the_rest_of_them_is_random() -> None:
    clock = ManualClock()
    found = [RequestIds(clock).next() for _ in range(3)]
    found += [one for ids in (RequestIds(clock), RequestIds(clock)) for one in (ids.next() for _ in range(1_000))]
    assert len({one[16:] for one in found}) == len(found)
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", one) for one in found)
