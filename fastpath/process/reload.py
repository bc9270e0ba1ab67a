"""When settings are to be read again, and which of them a running node can take.

Owns: the look at the file and the list of settings that only a restart changes. Does not: read or apply settings.
Concurrency: called from the supervisor's loop; every call is a single stat or pure.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from fastpath.settings import Settings

_Signature = tuple[int, int, int] | None

# What is fixed when a process or socket is made. Changing it means a new process, and a new process is a restart.
_FIXED: Final = {
    "listen": (
        "host",
        "port",
        "unix",
        "unix_mode",
        "admin_host",
        "admin_port",
        "door",
        "reuse_port",
        "backlog",
        "max_connections",
        "proxy_protocol",
        "tls",
    ),
    "log": ("access", "ring"),
    "limits": ("memory",),
    "idempotency": ("keys",),
}
_FIXED_AT_TOP: Final = ("workers", "state_dir", "control", "shared")


class FileWatch:
    """Tells when the file at `path` has other content than at the last `changed`.

    Looks at time, size and inode, so it sees a rename over the file too, and the links of a Kubernetes ConfigMap.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = self._seen = _signature(path)

    def changed(self) -> bool:
        """Whether the file is another one, and was the same at the last two calls: half-written files settle first."""
        now = _signature(self._path)
        settled = now == self._seen
        self._seen = now
        if not settled or now == self._told:
            return False
        self._told = now
        return True


def keep_fixed(running: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """`wanted` with the running value of whatever needs a restart, and the paths of what differed."""
    changes: dict[str, object] = {}
    paths = list(_differences(running, wanted, _FIXED_AT_TOP))
    changes.update({name: getattr(running, name) for name in paths})
    for group, names in _FIXED.items():
        old, new = getattr(running, group), getattr(wanted, group)
        different = list(_differences(old, new, names))
        changes[group] = msgspec.structs.replace(new, **{name: getattr(old, name) for name in different})
        paths += [f"{group}.{name}" for name in different]
    return msgspec.structs.replace(wanted, **changes), paths


def _differences(old: object, new: object, names: tuple[str, ...]) -> Iterator[str]:
    return (name for name in names if getattr(old, name) != getattr(new, name))


def _signature(path: Path) -> _Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
