"""Answers that may have to be given again: appended to files, encrypted, found by their place.

Owns the files of one writer, their encryption and their removal. Does not own which answer belongs to which key
(`table`); but an answer opens for its own key and body alone: a wrong place gives nothing and never another's answer.
AES-256-GCM under a key of the file's own, a random nonce for each answer. Used by one thread; it may wait for the disk.
"""

import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fastpath.idempotency.moment import SECOND, Moment
from fastpath.idempotency.segment import Segment, list_segments
from fastpath.idempotency.slot import TOKEN_SIZE, Mark, Place

LARGEST_FILE: Final = 8 << 20  # bytes, of a file that another answer may still be added to
LONGEST: Final = 3600 * SECOND  # ns that answers are added to one file
_NONCE: Final = 12
_OVERHEAD: Final = _NONCE + 16


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What the first request was answered. events: whether it was an event stream."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    events: bool


class Bounds(msgspec.Struct, frozen=True):
    """Of all answers in the folder. disk: bytes; ttl: ns."""

    disk: int
    ttl: int


class Answers:
    """The answers in a folder: of all its writers to read, of this one to write."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._secret = secret
        self._segment: Segment | None = None
        self._file = -1
        self._size = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Answer)

    def write(self, mark: Mark, answer: Answer, now: Moment, bounds: Bounds) -> Place:
        """Keeps an answer. Raises OSError when there is no room on the disk."""
        plain = self._encoder.encode(answer)
        segment = self._segment_for(len(plain) + _OVERHEAD, now, bounds)
        nonce = secrets.token_bytes(_NONCE)
        data = nonce + self._cipher(segment.token).encrypt(nonce, plain, _bound_to(mark))
        place = Place(segment.token, self._size, len(data))
        try:
            self._append(data)
        except OSError:
            self.close()  # what was written of it is never read, and nothing is put behind it
            raise
        return place

    def read(self, mark: Mark, place: Place) -> Answer | None:
        """The answer at a place; None when it is gone, damaged or another request's."""
        try:
            data = self._load(place)
            plain = self._cipher(place.token).decrypt(data[:_NONCE], data[_NONCE:], _bound_to(mark))
            found: Answer = self._decoder.decode(plain)
        except (OSError, InvalidTag, ValueError):
            return None
        return found

    def tidy(self, now: Moment, bounds: Bounds) -> None:
        """Removes files whose answers are all too old, and the oldest beyond the room there is."""
        kept = []
        for segment in list_segments(self._folder):
            if now.age(segment.born) >= bounds.ttl + LONGEST:
                (self._folder / segment.name).unlink(missing_ok=True)
            else:
                kept.append(segment)
        kept.sort(key=lambda segment: now.age(segment.born))
        room = bounds.disk
        for segment in kept:
            room -= self._size_of(segment)
            if room < 0:
                (self._folder / segment.name).unlink(missing_ok=True)

    def close(self) -> None:
        """Adds no more to the present file."""
        if self._file >= 0:
            os.close(self._file)
        self._segment, self._file, self._size = None, -1, 0

    def _segment_for(self, size: int, now: Moment, bounds: Bounds) -> Segment:
        segment = self._segment
        if segment is not None and self._size + size <= LARGEST_FILE and now.age(segment.born) < LONGEST:
            return segment
        self.close()
        # Each writer may fill the file it begins now, so room is made for a whole one.
        self.tidy(now, Bounds(max(0, bounds.disk - max(size, min(LARGEST_FILE, bounds.disk // 4))), bounds.ttl))
        segment = Segment(now, secrets.token_bytes(TOKEN_SIZE))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._folder / segment.name, flags, 0o600)
        self._segment = segment
        return segment

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file, rest, self._size)
            self._size += written
            rest = rest[written:]

    def _load(self, place: Place) -> bytes:
        suffix = f"-{place.token.hex()}.answers"
        name = next((name for name in os.listdir(self._folder) if name.endswith(suffix)), None)
        if name is None:
            raise FileNotFoundError(suffix)
        descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, place.length, place.offset)
        finally:
            os.close(descriptor)

    def _size_of(self, segment: Segment) -> int:
        try:
            return os.stat(self._folder / segment.name, follow_symlinks=False).st_size
        except FileNotFoundError:  # another worker removed it
            return 0

    def _cipher(self, token: bytes) -> AESGCM:
        return AESGCM(blake2b(token, key=self._secret, digest_size=32).digest())


def _bound_to(mark: Mark) -> bytes:
    return mark.key + mark.body
