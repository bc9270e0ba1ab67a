"""Where master keys come from: a private file, an environment variable, or a command that asks a KMS.

Owns reading them. Every source gives text: one key a line, 64 hex digits, the one in use first, older ones below for as
long as something is still sealed under them. Reading blocks; the command runs at most `COMMAND_SECONDS`.
"""

import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from controlplane.secrets.seal import KEY_SIZE, Keyring, MasterKey
from fastpath.settings.private import PrivateFileError, make_private, read_private

COMMAND_SECONDS: Final = 30
MOST_BYTES: Final = 4096


class MasterKeyError(Exception):
    """There is no master key to use. The message says who must do what, and nothing of the key."""


class FileSource(Struct, frozen=True, tag="file", forbid_unknown_fields=True):
    """A file (0600). Made with a new key when it is missing and `make` allows it."""

    path: str
    make: bool = False


class EnvironmentSource(Struct, frozen=True, tag="environment", forbid_unknown_fields=True):
    """An environment variable."""

    variable: str


class CommandSource(Struct, frozen=True, tag="command", forbid_unknown_fields=True):
    """A command, run without a shell, that prints the keys: the hook for a KMS."""

    argv: tuple[str, ...]


Source = FileSource | EnvironmentSource | CommandSource


def read_keyring(source: Source, environ: Mapping[str, str]) -> Keyring:
    """The master keys of a source. Raises MasterKeyError."""
    if isinstance(source, FileSource):
        return parse_keyring(_read_file(source), source.path)
    if isinstance(source, EnvironmentSource):
        return parse_keyring(environ.get(source.variable, ""), f"the variable {source.variable}")
    return parse_keyring(_run(source, environ), source.argv[0] if source.argv else "the command")


def parse_keyring(text: str, origin: str) -> Keyring:
    """The master keys in a text. `origin` is for the message. Raises MasterKeyError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise MasterKeyError(f"{origin} holds no master key: put 64 random hex digits there (openssl rand -hex 32)")
    try:
        return Keyring([MasterKey(bytes.fromhex(line)) for line in lines])
    except ValueError:
        raise MasterKeyError(f"{origin} must hold one master key a line, each 64 random hex digits") from None


def _read_file(source: FileSource) -> str:
    path = Path(source.path)
    try:
        if source.make and read_private(path, MOST_BYTES) is None:
            make_private(path, secrets.token_hex(KEY_SIZE).encode() + b"\n")
        content = read_private(path, MOST_BYTES)
    except PrivateFileError as error:
        raise MasterKeyError(str(error)) from None
    if content is None:
        raise MasterKeyError(f"{path} is missing: restore it from a backup, or name another master key")
    return content.decode("latin-1")


def _run(source: CommandSource, environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # the operator's own command, from the operator's own settings
            source.argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise MasterKeyError(f"the command for the master key did not run ({type(error).__name__})") from None
    if done.returncode != 0:
        raise MasterKeyError(f"the command for the master key ended with status {done.returncode}")
    return done.stdout[:MOST_BYTES].decode("latin-1")
