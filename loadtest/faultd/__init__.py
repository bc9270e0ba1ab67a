"""The fault proxy: forwards TCP and breaks it on request.

Rules are in `rules`, the library's front is `FaultProxy`, the wire control in `control`, the log line in `record`.
"""

from loadtest.faultd.proxy import FaultProxy
from loadtest.faultd.record import ConnectionRecord, FlowRecord, RecordFile
from loadtest.faultd.rules import (
    AnyRule,
    Bandwidth,
    Corrupt,
    Cut,
    Duplicate,
    Latency,
    Refuse,
    ResetOnAccept,
    Slice,
    SlowClose,
)

__all__ = [
    "AnyRule",
    "Bandwidth",
    "ConnectionRecord",
    "Corrupt",
    "Cut",
    "Duplicate",
    "FaultProxy",
    "FlowRecord",
    "Latency",
    "RecordFile",
    "Refuse",
    "ResetOnAccept",
    "Slice",
    "SlowClose",
]
