"""What the settlement service says of itself. Shapes only."""

from typing import Annotated

from msgspec import Meta, Struct


class Figures(Struct, frozen=True, kw_only=True):
    """Counts are since the control process started."""

    backlog_bytes: Annotated[
        int, Meta(description="Bytes of segments while there is more to read or to book; 0: all is in the books.")
    ]
    segment_bytes: Annotated[int, Meta(description="Bytes of all segments in the outbox, which its cap is about.")]
    lag_seconds: Annotated[float, Meta(description="Everything that was written so long ago is in the books.")]
    records: Annotated[int, Meta(description="Records read.")]
    settled: Annotated[int, Meta(description="Requests whose state in the ledger changed.")]
    posted: Annotated[int, Meta(description="Transactions written.")]
    duplicates: Annotated[int, Meta(description="Requests that records said nothing new about.")]
    abandoned: Annotated[int, Meta(description="Requests settled by estimate, because their worker is gone.")]
    quarantined: Annotated[int, Meta(description="Records put into quarantine.")]
    lost: Annotated[int, Meta(description="Records, at least, that damage to segments has cost.")]
    damaged: Annotated[int, Meta(description="Regions of segments that were no record; they are kept.")]
    failures: Annotated[int, Meta(description="Batches that could not be booked or given up, and were tried again.")]
    problem: Annotated[str, Meta(description="Why nothing is booked just now; empty: all is well.")]
