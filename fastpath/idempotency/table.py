"""Which idempotency keys are known on this node: a file of slots that all workers map, and who may take which.

Owns the file, its locks and the one step in which a key is looked up and taken. Does not own answers (`answers`) or
what a repeat is told (`stage`).

A key has 64 slots it may be in (a bucket). Whoever looks for one or writes one holds the bucket's lock for those
microseconds, so of many workers one takes it. Each worker has a seat, a lock that it holds as long as it lives and that
the kernel gives up for the dead; a slot names the seat of whoever runs its request. Written by memory copies: what a
process wrote survives its kill, and a loss of power costs what the kernel had yet to write. Every call is from the loop
of its worker and waits for 2 ms at most.
"""

import mmap
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fastpath.idempotency.locks import is_locked, try_lock, unlock
from fastpath.idempotency.moment import Moment
from fastpath.idempotency.slot import EMPTY, KEY_AT, SLOT_SIZE, Mark, Reason, Slot, State, open_slot, seal_slot
from fastpath.idempotency.verdict import Busy, Conflict, Full, Kept, Lost, Running, Taken, Verdict

BUCKET: Final = 64  # slots
_BUCKET_SIZE: Final = BUCKET * SLOT_SIZE
_MAGIC: Final = b"fastpath idempotency keys 1\n"
_HEAD: Final = 4096

# Bytes beyond the file's end that stand for what is locked.
_IN_USE: Final = 1 << 59
_BUCKETS: Final = 1 << 60
_SEATS: Final = 1 << 61
_SEAT_BITS: Final = 48
#: Seconds that a bucket is waited for. Its holder is in the middle of a memory copy, or was interrupted there.
_PATIENCE: Final = 0.002


def table_name(keys: int) -> str:
    """The name of the file with room for so many keys."""
    return f"keys-{_buckets_for(keys) * BUCKET}"


class Table:
    """An open table. Raises OSError from `open` where the file cannot be had."""

    def __init__(self, descriptor: int, secret: bytes) -> None:
        self._descriptor = descriptor
        self._secret = secret
        self._map = mmap.mmap(descriptor, 0)
        self._buckets = (len(self._map) - _HEAD) // _BUCKET_SIZE
        self._seat = self._sit_down()

    @staticmethod
    def open(path: Path, keys: int, secret: bytes) -> "Table":
        """The table at `path`, made when missing, and anew when it is none. Call under the folder's lock."""
        size = _HEAD + _buckets_for(keys) * _BUCKET_SIZE
        descriptor = _open_file(path, size)
        if not try_lock(descriptor, _IN_USE, shared=True):
            os.close(descriptor)
            raise OSError(f"{path} is being removed")
        return Table(descriptor, secret)

    @staticmethod
    def remove_unused(path: Path) -> bool:
        """Removes a table that no process has open; whether it did. Call under the folder's lock."""
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            unused = try_lock(descriptor, _IN_USE)
            if unused:
                path.unlink()
            return unused
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Gives up what is still taken, as a death would."""
        self._map.close()
        os.close(self._descriptor)

    # -- one step

    def take(self, mark: Mark, request: bytes, now: Moment, ttl: int, reason: Reason) -> Verdict:
        """Looks a key up, and takes it when it is free. ttl: how long keys are remembered, in ns; reason: noted while
        it runs, `Reason.UNSURE` when it must not run again after its worker's death."""
        bucket = int.from_bytes(mark.key[:8], "little") % self._buckets
        if not self._lock_bucket(bucket):
            return Busy()
        try:
            return self._take(bucket, Slot(State.BEGUN, mark, request, now, reason, seat=self._seat), ttl)
        finally:
            unlock(self._descriptor, _BUCKETS + bucket)

    def note(self, index: int, slot: Slot) -> None:
        """Writes how far a request is whose slot was taken. KEPT or LOST: it is over."""
        self._write_alone(index, seal_slot(slot, index, self._secret))

    def forget(self, index: int) -> None:
        """A request is over whose slot was taken, as if it had never been."""
        self._write_alone(index, EMPTY)

    # -- parts

    def _take(self, bucket: int, wanted: Slot, ttl: int) -> Verdict:
        index = -1
        for found in self._places_of(bucket, wanted.mark.key):
            slot = open_slot(self._read(found), found, self._secret)
            if slot is None:
                self._write(found, EMPTY)
            elif (verdict := self._judge(slot, wanted, ttl)) is not None:
                return verdict
            else:
                index = found
        if index < 0:
            index = self._find_room(bucket, wanted.born, ttl)
        if index < 0:
            return Full()
        self._write(index, seal_slot(wanted, index, self._secret))
        return Taken(index, wanted)

    def _judge(self, slot: Slot, wanted: Slot, ttl: int) -> Verdict | None:
        """What a request is told whose key is in this slot; None when it may have it."""
        age = wanted.born.age(slot.born)
        if self._is_running(slot):
            return Running(age) if slot.mark == wanted.mark else Conflict()
        if age >= ttl or _never_was(slot):
            return None
        if slot.mark != wanted.mark:
            return Conflict()
        return Kept(slot) if slot.state is State.KEPT else Lost(slot.reason or Reason.BROKEN_OFF)

    def _find_room(self, bucket: int, now: Moment, ttl: int) -> int:
        """A slot that nobody needs, -1 when there is none."""
        first, start = bucket * BUCKET, _HEAD + bucket * _BUCKET_SIZE
        states = self._map[start : start + _BUCKET_SIZE : SLOT_SIZE]
        empty = states.find(0)
        if empty >= 0:
            return first + empty
        return next((i for i in range(first, first + BUCKET) if self._is_over(i, now, ttl)), -1)

    def _is_over(self, index: int, now: Moment, ttl: int) -> bool:
        slot = open_slot(self._read(index), index, self._secret)
        if slot is None:
            return True
        return not self._is_running(slot) and (_never_was(slot) or now.age(slot.born) >= ttl)

    def _places_of(self, bucket: int, key: bytes) -> Iterator[int]:
        """Slots of a bucket that bear this mark."""
        start = _HEAD + bucket * _BUCKET_SIZE
        end, at = start + _BUCKET_SIZE, self._map.find(key, start, start + _BUCKET_SIZE)
        while at >= 0:
            if (at - start) % SLOT_SIZE == KEY_AT:
                yield bucket * BUCKET + (at - start) // SLOT_SIZE
            at = self._map.find(key, at + 1, end)

    def _is_running(self, slot: Slot) -> bool:
        if slot.state in (State.KEPT, State.LOST):
            return False
        return slot.seat == self._seat or is_locked(self._descriptor, _SEATS + slot.seat)

    def _sit_down(self) -> int:
        seat = secrets.randbits(_SEAT_BITS)
        while not try_lock(self._descriptor, _SEATS + seat):
            seat = secrets.randbits(_SEAT_BITS)
        return seat

    def _lock_bucket(self, bucket: int) -> bool:
        if try_lock(self._descriptor, _BUCKETS + bucket):
            return True
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            os.sched_yield()
            if try_lock(self._descriptor, _BUCKETS + bucket):
                return True
        return False

    def _read(self, index: int) -> bytes:
        at = _HEAD + index * SLOT_SIZE
        return self._map[at : at + SLOT_SIZE]

    def _write_alone(self, index: int, data: bytes) -> None:
        """Writes when nobody looks at the bucket, or when who does stands still."""
        bucket = index // BUCKET
        locked = self._lock_bucket(bucket)
        self._write(index, data)
        if locked:
            unlock(self._descriptor, _BUCKETS + bucket)

    def _write(self, index: int, data: bytes) -> None:
        at = _HEAD + index * SLOT_SIZE
        self._map[at : at + SLOT_SIZE] = data


def _never_was(slot: Slot) -> bool:
    """Whether a request whose worker is gone left nothing behind that its repeat would double."""
    return slot.state is State.BEGUN and slot.reason is Reason.NONE


def _buckets_for(keys: int) -> int:
    return max(1, -(-keys // BUCKET))


def _open_file(path: Path, size: int) -> int:
    """A descriptor of the whole, allocated file: what is missing on a full disk later would be a SIGBUS."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _make_file(path, size)
    if os.fstat(descriptor).st_size == size and os.pread(descriptor, len(_MAGIC), 0) == _MAGIC:
        return descriptor
    os.close(descriptor)
    path.unlink()
    return _make_file(path, size)


def _make_file(path: Path, size: int) -> int:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        os.pwrite(descriptor, _MAGIC, 0)
        draft.rename(path)
    except OSError:
        os.close(descriptor)
        draft.unlink(missing_ok=True)
        raise
    return descriptor
