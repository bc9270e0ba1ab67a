"""The pepper: 32 random bytes that key the hashes of callers' keys, in `<state folder>/pepper`.

Owns that file and the state folder's permissions. The first command that needs a pepper makes it; nothing ever writes
over one, because every hash in use depends on it. Safe when two processes make it at once: one file wins whole.
"""

import os
import secrets
import stat
from pathlib import Path

PEPPER_SIZE = 32


class PepperError(Exception):
    """The pepper cannot be trusted or used. The message says who must do what."""


def read_pepper(folder: Path) -> bytes | None:
    """The pepper in `folder`, None when there is none yet. Raises PepperError when others could have read it."""
    path = folder / "pepper"
    try:
        _check_folder(folder)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PepperError(f"{path} cannot be opened ({error.strerror}): run as the user who owns it") from None
    with os.fdopen(descriptor, "rb") as file:
        _check_private(os.fstat(file.fileno()), path, "600")
        pepper = file.read(PEPPER_SIZE + 1)
    if len(pepper) != PEPPER_SIZE:
        raise PepperError(
            f"{path} is not {PEPPER_SIZE} bytes long: restore it from a backup, or remove it and all keys"
        )
    return pepper


def make_pepper(folder: Path) -> bytes:
    """The pepper in `folder`, made with its folder (0700) and file (0600) when missing. Raises PepperError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = read_pepper(folder)
        if found is None:
            _write_once(folder / "pepper", secrets.token_bytes(PEPPER_SIZE))
            found = read_pepper(folder)
    except OSError as error:
        raise PepperError(f"{folder} cannot hold the pepper ({error.strerror}): name another --state-dir") from None
    if found is None:
        raise PepperError(f"{folder}/pepper vanished while it was made: is something else cleaning that folder?")
    return found


def _write_once(path: Path, data: bytes) -> None:
    """Makes the file whole or not at all; keeps the one that another process made first."""
    draft = path.with_name(f"pepper.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return  # another command was first: its pepper is as good as ours
    finally:
        os.unlink(draft)


def _check_folder(folder: Path) -> None:
    found = os.stat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise PepperError(f"{folder} is not a folder: name another --state-dir")
    _check_private(found, folder, "700")


def _check_private(found: os.stat_result, path: Path, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise PepperError(f"{path} belongs to another user: run as that user, or name your own --state-dir")
    if found.st_mode & 0o077:
        raise PepperError(f"{path} can be used by others (mode {found.st_mode & 0o777:o}): chmod {mode} {path}")
