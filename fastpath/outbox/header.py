"""The header of a segment: whose it is and which. Owns its bytes; records behind it are `_native.outbox`. Pure."""

import struct
from typing import Final

import msgspec

from _native.outbox import LARGEST, LAYOUT, SEAL, crc32c

MAGIC: Final = b"fpoutbox"
_FORM: Final = struct.Struct("<8sIIQQQQI4x16s")
_CHECK: Final = struct.Struct("<I")
SIZE: Final = _FORM.size + _CHECK.size
if SIZE > SEAL:
    raise ImportError("the header reaches into the seal")


class Header(msgspec.Struct, frozen=True):
    """Who writes the segment and which one it is. It does not change once the file has its name."""

    sequence: int  # 1, 2, 3 ... of one writer's life
    size: int  # bytes of the file
    token: int
    pid: int
    start: int  # of the process, clock ticks since boot
    boot: bytes  # 16 bytes: pid and start mean nothing under another boot
    created_ns: int  # Unix time

    def pack(self) -> bytes:
        data = _FORM.pack(
            MAGIC, LAYOUT, self.sequence, self.size, self.token, self.start, self.created_ns, self.pid, self.boot
        )
        return data + _CHECK.pack(crc32c(data))


def unpack_header(data: bytes) -> Header | None:
    """The header that a segment begins with; None when it is damaged or of another layout."""
    if len(data) < SIZE or _CHECK.unpack_from(data, _FORM.size)[0] != crc32c(data[: _FORM.size]):
        return None
    magic, layout, sequence, size, token, start, created_ns, pid, boot = _FORM.unpack_from(data)
    if magic != MAGIC or layout != LAYOUT or size > LARGEST:
        return None
    return Header(sequence, size, token, pid, start, boot, created_ns)
