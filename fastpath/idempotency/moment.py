"""Moments that outlive a process, and how far two of them are apart.

While the machine runs, ages are by its monotonic clock, which all of its processes share and no correction of the wall
clock moves. Over a reboot there is only the wall clock; a step back in time counts as no time. Pure.
"""

import struct
from typing import Final, NamedTuple

from scheduler.clock import Clock

SECOND: Final = 1_000_000_000
BOOT_SIZE: Final = 8

_FORM: Final = struct.Struct(f"<{BOOT_SIZE}sqq")
MOMENT_SIZE: Final = _FORM.size


class Moment(NamedTuple):
    """boot: which run of the machine; monotonic and wall in ns."""

    boot: bytes
    monotonic: int
    wall: int

    def pack(self) -> bytes:
        return _FORM.pack(*self)

    def age(self, then: "Moment") -> int:
        """How long ago `then` was, in ns; never negative."""
        if self.boot == then.boot:
            return max(0, self.monotonic - then.monotonic)
        return max(0, self.wall - then.wall)


def unpack_moment(data: bytes) -> Moment:
    """Reverse of `Moment.pack`, of MOMENT_SIZE bytes."""
    return Moment(*_FORM.unpack(data))


def take_moment(clock: Clock, boot: bytes) -> Moment:
    """Now."""
    return Moment(boot[:BOOT_SIZE], int(clock.monotonic() * SECOND), int(clock.now() * SECOND))
