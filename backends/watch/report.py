"""How one endpoint is, for operators: plain data, as it also travels from the watch process."""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """Of an endpoint, by its probes."""

    UNKNOWN = "Unknown"
    RUNNING = "Running"
    FAILED = "Failed"


class Report(msgspec.Struct, frozen=True):
    """problem: why its load cannot be read, "" when it can or is not asked for. since: monotonic seconds at which its
    state began, 0.0 where it is not probed."""

    model: str
    endpoint: str
    state: State
    message: str = ""
    since: float = 0.0
    problem: str = ""
