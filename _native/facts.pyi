"""Copies what the processes of a node know of endpoints between the arena and the columns of one worker's table.

All times are monotonic seconds. Nothing in the arena is trusted: amounts that are none, times in the future and
exclusions without an end are left out. 3 us for 100 endpoints and three other workers (measured).
"""

from collections.abc import Iterable, Sequence
from typing import final

from typing_extensions import Buffer

from _native.arena import Arena

PART_FRESH: float
"""Seconds after which a worker's part that was not renewed counts no more."""

SAMPLE_STALE: float
"""Age in seconds from which the throughput of a load sample fades."""

SAMPLE_HALF_LIFE: float
"""Seconds in which half of what it differs by from the configured one fades."""

@final
class Facts:
    """Of the endpoints of one snapshot."""

    def __init__(self, arena: Arena, rows: Sequence[tuple[int, bytes, bytes, bytes, bytes, float]]) -> None:
        """rows: slot in the table, id of the endpoint, id of its load sample, of its probe word, of its EWMA of first
        tokens, prompt tokens a second as configured. Without a place in the arena (`join`) nothing is told to others.
        """

    def meet(self, workers: Iterable[int]) -> None:
        """Whose parts are added up: slots of the arena. Call it when those may have changed, every second or so."""

    def copy(
        self,
        in_flight: Buffer,
        in_flight_elsewhere: Buffer,
        tokens: Buffer,
        tokens_elsewhere: Buffer,
        queued: Buffer,
        kv_usage: Buffer,
        throughput: Buffer,
        sampled_at: Buffer,
        ttft: Buffer,
        ttft_at: Buffer,
        out_until: Buffer,
        ramp_from: Buffer,
        now: float,
    ) -> int:
        """Once a tick. Tells what this worker has running; takes what the others have, newer samples, exclusions by
        probes and first-token times.

        From SAMPLE_STALE on, the throughput of a sample fades to what is configured. What waits and what is in use
        stay as they were said, and are weighed by their age where they are read (load.pyx). Gives how many are out
        by their probes. Raises IndexError for a slot that is not there.
        """

    def withdraw(self) -> None:
        """Tells the others that nothing runs: the endpoints are no longer this worker's."""
