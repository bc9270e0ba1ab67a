"""Whose publications a node takes: one Ed25519 key, or two while one replaces the other.

Owns the envelope (`FPPUBL01`, key id, signature, manifest) and the file of trusted keys. Does not own private keys
(`signer`). Nothing here changes after it was made.
"""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fastpath.publication.disk import make_folder, read_private, write_whole
from fastpath.publication.manifest import MOST_MANIFEST, Manifest, decode_manifest
from fastpath.publication.problem import PublicationError, Refused
from fastpath.settings.private import sync_folder

MAGIC: Final = b"FPPUBL01"
CONTEXT: Final = b"fastpath publication 1\0"
"""Goes before the manifest under the signature, so that the key's other signatures could never pass for one."""
HEAD_SIZE: Final = 8 + 8 + 64
"""Of an envelope, before the manifest."""
MOST_ENVELOPE: Final = HEAD_SIZE + MOST_MANIFEST
MOST_KEYS: Final = 2


def key_id(public: bytes) -> bytes:
    """8 bytes that tell public keys apart."""
    return blake2b(public, digest_size=8, person=b"fp public key").digest()


def key_text(public: bytes) -> str:
    """A public key as it stands in the file of trusted keys, and in settings."""
    return f"ed25519:{public.hex()}"


class Trust:
    """Public keys that may sign. Their order means nothing."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Raises PublicationError for none, more than two, or one that is no key."""
        self.keys = tuple(dict.fromkeys(keys))
        if not 1 <= len(self.keys) <= MOST_KEYS:
            raise PublicationError(f"{len(self.keys)} trusted keys: one, or two while a key is being replaced")
        try:
            self._by_id = {key_id(key): Ed25519PublicKey.from_public_bytes(key) for key in self.keys}
        except ValueError:
            raise PublicationError("a trusted key is not an Ed25519 public key: copy it again") from None

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Trust":
        """From `key_text`s. Raises PublicationError."""
        return cls(_parse_key(text) for text in texts)

    def open(self, envelope: bytes) -> Manifest:
        """The manifest in an envelope. Raises Refused unless a trusted key signed exactly these bytes."""
        if not HEAD_SIZE < len(envelope) <= MOST_ENVELOPE or not envelope.startswith(MAGIC):
            raise Refused("malformed", f"{len(envelope)} bytes that are no publication")
        public = self._by_id.get(envelope[8:16])
        if public is None:
            raise Refused("signature", f"signed by a key that is not trusted ({envelope[8:16].hex()})")
        try:
            public.verify(envelope[16:HEAD_SIZE], CONTEXT + envelope[HEAD_SIZE:])
        except InvalidSignature:
            raise Refused("signature", "the signature does not hold") from None
        return decode_manifest(envelope[HEAD_SIZE:])


def read_trust(path: Path) -> Trust | None:
    """The keys in a file that `write_trust` made, None when there is none. Raises PublicationError."""
    data = read_private(path, 1024)
    if data is None:
        return None
    try:
        return Trust.parse(line for line in data.decode("ascii").splitlines() if line)
    except (PublicationError, UnicodeDecodeError) as error:
        raise PublicationError(f"{path} does not list trusted keys ({error}): copy it from the control plane") from None


def write_trust(path: Path, trust: Trust) -> None:
    """Puts the file in place of the one before, durably."""
    make_folder(path.parent)
    write_whole(path, ("".join(f"{key_text(key)}\n" for key in trust.keys).encode(),))
    sync_folder(path.parent)


def _parse_key(text: str) -> bytes:
    kind, _, digits = text.strip().partition(":")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if kind != "ed25519" or len(key) != 32:
        raise PublicationError("a trusted key is written ed25519: and 64 hex digits")
    return key
