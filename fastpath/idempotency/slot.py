"""One remembered key: 128 bytes of the table, sealed with a keyed digest.

Owns the form and the seal. A slot that is torn or was tampered with does not open, and is as if it were not there. No
key, body or answer is in it, only keyed digests of the first two and the place of the last. Pure.
"""

import hmac
import struct
from enum import IntEnum
from hashlib import blake2b
from typing import Final

import msgspec

from fastpath.idempotency.moment import MOMENT_SIZE, Moment, unpack_moment

SLOT_SIZE: Final = 128
MARK_SIZE: Final = 16
TOKEN_SIZE: Final = 8
_SEAL_SIZE: Final = 16

#: state, reason, seat; marks of key and body; request id; moment; token, offset and length of the answer
_FORM: Final = struct.Struct(f"<BB6xQ{MARK_SIZE}s{MARK_SIZE}s16s{MOMENT_SIZE}s{TOKEN_SIZE}sII")
KEY_AT: Final = 16
EMPTY: Final = bytes(SLOT_SIZE)
SEALED: Final = _FORM.size + _SEAL_SIZE  # bytes; the few behind them say nothing
assert SEALED <= SLOT_SIZE


class State(IntEnum):
    """How far the request of a key is. One that is begun or charged runs as long as its worker lives."""

    BEGUN = 1  # nothing of an answer has reached its caller: it was not charged
    CHARGED = 2  # something has; the whole answer is not kept yet
    KEPT = 3  # it is over, its answer is kept
    LOST = 4  # it is over, its answer is not


class Reason(IntEnum):
    """Why an answer that was charged is not kept."""

    NONE = 0
    WITHHELD = 1  # its data class is never stored
    TOO_LARGE = 2
    NO_ROOM = 3  # neither in memory nor on the disk
    BROKEN_OFF = 4  # its caller left, or its worker died, before it was whole
    UNSURE = 5  # it was to be stored by the model server (store: true), which may or may not have happened


class Mark(msgspec.Struct, frozen=True):
    """Which request it is: keyed digests of (caller, idempotency key) and of (path, body), MARK_SIZE bytes each."""

    key: bytes
    body: bytes


class Place(msgspec.Struct, frozen=True):
    """Where an answer lies: its segment's token (TOKEN_SIZE bytes), offset and length in bytes."""

    token: bytes
    offset: int
    length: int


NOWHERE: Final = Place(bytes(TOKEN_SIZE), 0, 0)


class Slot(msgspec.Struct, frozen=True):
    """What is remembered of a key. request: the id of the first request under it, 16 bytes; seat: its worker's."""

    state: State
    mark: Mark
    request: bytes
    born: Moment
    reason: Reason = Reason.NONE
    place: Place = NOWHERE
    seat: int = 0


def seal_slot(slot: Slot, index: int, secret: bytes) -> bytes:
    """SLOT_SIZE bytes that open at this index alone."""
    data = _FORM.pack(
        slot.state,
        slot.reason,
        slot.seat,
        slot.mark.key,
        slot.mark.body,
        slot.request,
        slot.born.pack(),
        slot.place.token,
        slot.place.offset,
        slot.place.length,
    )
    return (data + _seal(data, index, secret)).ljust(SLOT_SIZE, b"\0")


def open_slot(data: bytes, index: int, secret: bytes) -> Slot | None:
    """Reverse of `seal_slot`; None for anything else."""
    body, seal = data[: _FORM.size], data[_FORM.size : SEALED]
    if not hmac.compare_digest(seal, _seal(body, index, secret)):
        return None
    state, reason, seat, key, marked, request, born, token, offset, length = _FORM.unpack(body)
    place = Place(token, offset, length)
    return Slot(State(state), Mark(key, marked), request, unpack_moment(born), Reason(reason), place, seat)


def _seal(data: bytes, index: int, secret: bytes) -> bytes:
    return blake2b(data + index.to_bytes(8, "little"), key=secret, digest_size=_SEAL_SIZE).digest()
