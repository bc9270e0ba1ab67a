"""The private key that signs publications: one file, made once, never written over except by a rotation.

Owns `<folder>/signing-key`, and `signing-key.next` while a rotation goes on. A rotation has three steps, each safe to
repeat: `prepare_rotation` makes the next key, whose public half is then trusted beside the old one on every node;
`finish_rotation` signs by it from now on; at last the old one is taken out of the trust. Waits for the disk.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fastpath.publication.disk import make_folder, read_private, write_once
from fastpath.publication.manifest import Manifest, encode_manifest
from fastpath.publication.problem import PublicationError
from fastpath.publication.trust import CONTEXT, MAGIC, key_id
from fastpath.settings.private import sync_folder

_SIZE: Final = 32
_NAME: Final = "signing-key"
_NEXT: Final = "signing-key.next"


class Signer:
    """Signs manifests. `public`: 32 bytes, for `Trust`."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def seal(self, manifest: Manifest) -> bytes:
        """The envelope: what nodes verify and keep."""
        data = encode_manifest(manifest)
        return MAGIC + key_id(self.public) + self._private.sign(CONTEXT + data) + data


def make_signer(folder: Path) -> Signer:
    """The key in `folder`, made with it (0700, 0600) when missing. Raises PublicationError."""
    return _make(folder, _NAME)


def prepare_rotation(folder: Path) -> Signer:
    """The key that comes next, made when missing: trust its `public` everywhere before `finish_rotation`."""
    return _make(folder, _NEXT)


def finish_rotation(folder: Path) -> Signer:
    """The next key in the old one's place. Raises PublicationError when none was prepared."""
    if _read(folder / _NEXT) is None:
        raise PublicationError(f"{folder} has no next signing key: prepare the rotation first")
    os.replace(folder / _NEXT, folder / _NAME)
    sync_folder(folder)
    return make_signer(folder)


def _make(folder: Path, name: str) -> Signer:
    make_folder(folder)
    found = _read(folder / name)
    if found is None:
        write_once(folder / name, secrets.token_bytes(_SIZE))
        found = _read(folder / name)
    if found is None:
        raise PublicationError(f"{folder / name} vanished while it was made: is something else cleaning that folder?")
    return found


def _read(path: Path) -> Signer | None:
    seed = read_private(path, _SIZE)
    if seed is None:
        return None
    if len(seed) != _SIZE:
        raise PublicationError(f"{path} is not {_SIZE} bytes long: restore it from a backup, or make a new one")
    return Signer(seed)
