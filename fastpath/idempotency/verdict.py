"""What a look for an idempotency key can find. Plain data."""

import msgspec

from fastpath.idempotency.slot import Reason, Slot


class Taken(msgspec.Struct, frozen=True):
    """The key was free and is this request's now."""

    index: int
    slot: Slot


class Running(msgspec.Struct, frozen=True):
    """The first request under it still runs, since `age` ns."""

    age: int


class Conflict(msgspec.Struct, frozen=True):
    """It was used for another request."""


class Kept(msgspec.Struct, frozen=True):
    """The first request was answered, and its answer is kept."""

    slot: Slot


class Lost(msgspec.Struct, frozen=True):
    """The first request was charged, and its answer is not kept."""

    reason: Reason


class Full(msgspec.Struct, frozen=True):
    """No more keys can be remembered."""


class Busy(msgspec.Struct, frozen=True):
    """Another process is looking right now."""


Verdict = Taken | Running | Conflict | Kept | Lost | Full | Busy
