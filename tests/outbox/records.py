"""The records of a batch one by one, which settlement takes run by run."""

from typing import NamedTuple

from fastpath.outbox.reader import Batch


class Record(NamedTuple):
    """One record, whole as it was put, and where it lay."""

    segment: str  # the file's name
    end: int  # offset behind it
    payload: bytes


def records_of(batch: Batch) -> list[Record]:
    """In the order of the runs."""
    return [Record(run.segment, end, payload) for run in batch.runs for _, payload, end in run.found]


def payloads(batch: Batch) -> list[bytes]:
    return [record.payload for record in records_of(batch)]
