"""What a publication consists of: a few numbers and hashes, small enough to be signed, sent and compared whole.

Owns the manifest, its bytes, and the names of the pieces that it points to. Pieces are named by their content, so one
that is there under its name is the right one or damaged, and is never written over.
"""

from hashlib import blake2b
from typing import Annotated, Final

import msgspec

from fastpath.publication.problem import Refused

LAYOUT: Final = 2
OLDEST: Final = 1
"""Of this one teams and users stand in the order of their tenants, which is one way of standing where their ids do."""
MOST_MANIFEST: Final = 4096
MOST_SETTINGS: Final = 256 << 20
"""Bytes of an encoded settings piece."""
MOST_TABLE: Final = 8 << 30

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
PepperId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]


class Blob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The sealed settings: BLAKE2b-256 of their bytes as they lie in the file."""

    hash: Hash
    size: Annotated[int, msgspec.Meta(ge=1, le=MOST_SETTINGS)]

    @property
    def name(self) -> str:
        """The piece's file, and its key in Redis."""
        return f"settings-{self.hash.hex()}"


class Table(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key table: the root of its hash tree (`_native.keytable.root_of`)."""

    root: Hash
    size: Annotated[int, msgspec.Meta(ge=128, le=MOST_TABLE)]

    @property
    def name(self) -> str:
        """The piece's file, and its key in Redis."""
        return f"keys-{self.root.hex()}"


class Manifest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One publication. `created` in Unix ms; `previous` is the version that it replaced, 0 for none."""

    layout: Annotated[int, msgspec.Meta(ge=OLDEST, le=LAYOUT)]
    version: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    previous: Number
    created: Number
    pepper_id: PepperId
    settings: Blob
    base: Table
    delta: Table | None

    @property
    def pieces(self) -> "tuple[Blob | Table, ...]":
        """All that must be there before this can be used."""
        return (self.settings, self.base) if self.delta is None else (self.settings, self.base, self.delta)


def encode_manifest(manifest: Manifest) -> bytes:
    """MessagePack."""
    return msgspec.msgpack.encode(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """Raises Refused for anything else than a manifest of a layout that is known."""
    try:
        return msgspec.msgpack.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise Refused("malformed", f"not a manifest of layout {OLDEST} to {LAYOUT} ({error})") from None


def blob_hash(data: bytes) -> bytes:
    """What a `Blob` is named by."""
    return blake2b(data, digest_size=32, person=b"fp settings").digest()
