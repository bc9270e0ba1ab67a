"""What a failed attempt says of the endpoint: its fault, perhaps the request's, or nothing. Pure."""

from backends.base import Cause, UpstreamError
from fastpath.relay.attempt import BadStatus
from scheduler.health import Blame

#: Nothing else may have made these happen.
_FAULTS = frozenset(
    {
        Cause.DNS,
        Cause.CONNECT,
        Cause.CONNECT_TIMEOUT,
        Cause.TLS,
        Cause.DISCONNECTED,
        Cause.PROTOCOL,
        Cause.FIRST_BYTE_TIMEOUT,
        Cause.IDLE_TIMEOUT,
    }
)
#: A full pool is ours, and how long a caller lets its request run is the caller's.
_OURS = frozenset({Cause.POOL_FULL, Cause.TOTAL_TIMEOUT})
#: It does not take our key: no request will be served.
_OUR_KEY = frozenset({401, 403})
#: With a time at which to come back, these are a wish and no failure.
_BUSY = frozenset({429, 503, 529})


def blame(error: UpstreamError) -> tuple[Blame, float]:
    """Whose fault it is; and of one that asks to be left alone, for how many seconds."""
    if isinstance(error, BadStatus):
        if error.status in _BUSY and error.retry_after:
            return Blame.BUSY, error.retry_after
        if error.status == 429:
            return Blame.NONE, 0.0
        return (Blame.FAULT if error.status in _OUR_KEY else Blame.ANSWER), 0.0
    if error.cause in _OURS:
        return Blame.NONE, 0.0
    return (Blame.FAULT if error.cause in _FAULTS else Blame.ANSWER), 0.0
