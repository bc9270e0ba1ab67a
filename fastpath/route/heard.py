"""What answers tell of the endpoint that gives them: when its first tokens come, and the load that it reports.

Owns writing that into the worker's columns, and the report into the arena's sample for the other workers of the node.
Does not own what is made of it (`scheduler`). One worker's loop.
"""

from _native.arena import Arena, digest
from _native.load import Load
from backends.dialects.orca import read_report

#: Seconds, as the arena counts them. Readers of a sample make seconds of its stamp the same way, to the last bit.
NANO = 1e-9


class Heard:
    """Of one endpoint of one model, which has this slot."""

    def __init__(self, load: Load, slot: int, arena: Arena, model: str, endpoint: str) -> None:
        self._load = load
        self._slot = slot
        self._sample = arena.sample(digest("endpoint", model, endpoint))

    def first_token(self, seconds: float, now: float) -> None:
        """A stream's first content came after so many seconds. now: monotonic."""
        self._load.observe(self._slot, seconds, now)

    def whole(self, seconds: float, now: float) -> None:
        """An answer that is sent whole was there after so many seconds: of them an unknown part was writing, so they
        are the most that its first token took."""
        self._load.observe_most(self._slot, seconds, now)

    def report(self, value: bytes, now: float) -> None:
        """The endpoint said how busy it is, in a header. What cannot be is ignored."""
        told = read_report(value)
        if told is None:
            return
        queued, kv_usage, throughput, running, waiting = told
        stamp = int(now * 1e9)
        if self._load.note(self._slot, stamp * NANO, queued, kv_usage, throughput):
            self._sample.write(stamp, (queued, kv_usage, throughput, running, waiting))
