"""The pepper: 32 random bytes that key the hashes of callers' keys, in `<state folder>/pepper`.

Owns that file's name and size. The first command that needs a pepper makes it; nothing ever writes over one, because
every hash in use depends on it. Who may use the folder and the file is `fastpath.settings.private`'s to judge.
"""

import secrets
from pathlib import Path

from fastpath.settings.private import (
    PrivateFileError,
    check_private_folder,
    make_private,
    make_private_folder,
    read_private,
)

PEPPER_SIZE = 32


class PepperError(Exception):
    """The pepper cannot be trusted or used. The message says who must do what."""


def read_pepper(folder: Path) -> bytes | None:
    """The pepper in `folder`, None when there is none yet. Raises PepperError when others could have read it."""
    try:
        if not check_private_folder(folder):
            return None
        pepper = read_private(folder / "pepper", PEPPER_SIZE)
    except PrivateFileError as error:
        raise PepperError(str(error)) from None
    return None if pepper is None else _whole(folder, pepper)


def make_pepper(folder: Path) -> bytes:
    """The pepper in `folder`, made with its folder (0700) and file (0600) when missing. Raises PepperError."""
    try:
        make_private_folder(folder)
        return _whole(folder, make_private(folder / "pepper", secrets.token_bytes(PEPPER_SIZE)))
    except PrivateFileError as error:
        raise PepperError(str(error)) from None


def _whole(folder: Path, pepper: bytes) -> bytes:
    if len(pepper) != PEPPER_SIZE:
        raise PepperError(
            f"{folder / 'pepper'} is not {PEPPER_SIZE} bytes long: restore it from a backup, or remove it and all keys"
        )
    return pepper
