"""Files that only their owner may read: the state folder (0700) and the secrets in it (0600).

Owns the checks and how such a file is made: whole or not at all, and never over one that is there. Does not own what
the files mean. Safe when two processes make the same file at once: one wins whole, and both read that one.
"""

import os
import secrets
import stat
from pathlib import Path


class PrivateFileError(Exception):
    """A private file cannot be trusted or used. The message says who must do what."""


def make_private_folder(folder: Path) -> None:
    """Makes the folder (0700) when it is missing. Raises PrivateFileError when others may enter it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PrivateFileError(f"{folder} cannot be used ({error.strerror}): name another --state-dir") from None
    check_private_folder(folder)


def check_private_folder(folder: Path) -> bool:
    """Whether there is such a folder. Raises PrivateFileError when others may enter it."""
    try:
        found = os.stat(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise PrivateFileError(f"{folder} cannot be used ({error.strerror}): run as the user who owns it") from None
    if not stat.S_ISDIR(found.st_mode):
        raise PrivateFileError(f"{folder} is not a folder: name another --state-dir")
    _check_private(found, folder, "700")
    return True


def check_private_file(path: Path) -> None:
    """Raises PrivateFileError unless `path` is missing, or this user's own and closed to all others."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PrivateFileError(f"{path} cannot be used ({error.strerror}): run as the user who owns it") from None
    if not stat.S_ISREG(found.st_mode):
        raise PrivateFileError(f"{path} is not a plain file: move it away")
    _check_private(found, path, "600")


def read_private(path: Path, limit: int) -> bytes | None:
    """The file's content, None when it is missing.

    Raises PrivateFileError when others may read it, or when it is longer than `limit` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(f"{path} cannot be opened ({error.strerror}): run as the user who owns it") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise PrivateFileError(f"{path} is not a plain file: move it away")
        _check_private(found, path, "600")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise PrivateFileError(f"{path} is longer than {limit} bytes: restore it from a backup")
    return content


def make_private(path: Path, content: bytes) -> bytes:
    """The file's content: what is there already, else `content`, which is written whole (0600) or not at all.

    Raises PrivateFileError.
    """
    try:
        found = read_private(path, max(len(content), 1))
        if found is None:
            _write_once(path, content)
            found = read_private(path, max(len(content), 1))
    except OSError as error:
        raise PrivateFileError(f"{path} cannot be written ({error.strerror}): name another --state-dir") from None
    if found is None:
        raise PrivateFileError(f"{path} vanished while it was made: is something else cleaning that folder?")
    return found


def _write_once(path: Path, content: bytes) -> None:
    """Makes the file whole or not at all; keeps the one that another process made first."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return  # another process was first: its file is as good as ours
    finally:
        os.unlink(draft)


def _check_private(found: os.stat_result, path: Path, mode: str) -> None:
    wrong = find_stranger(found, path, mode)
    if wrong is not None:
        raise PrivateFileError(wrong)


def find_stranger(found: os.stat_result, path: Path, mode: str) -> str | None:
    """Who else may use what is at `path`, and what to do about it; None when it is this user's alone."""
    if found.st_uid != os.geteuid():
        return f"{path} belongs to another user: run as that user, or name your own --state-dir"
    if found.st_mode & 0o077:
        return f"{path} can be used by others (mode {found.st_mode & 0o777:o}): chmod {mode} {path}"
    return None


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
