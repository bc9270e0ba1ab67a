"""What the ledger's load happens to: a whole node with its control process, and a mock model server per endpoint.

Owns the processes, the keys of the callers, and where everything lies. Does not choose what is sent or who dies.
Concurrency: one event loop.
"""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import yaml

from fastpath.arena import arena_folder
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token
from loadtest.ports import free_port
from loadtest.programs import Mock, Node
from loadtest.rig.staged import Staged

MODEL = "llama"
TIMEOUTS = {"connect": 2, "first_byte": 0.8, "idle": 0.8, "total": 8, "pool_idle": 1}
RETRIES = {"attempts": 2, "budget_min": 1_000_000, "backoff": 0.005, "backoff_max": 0.05}


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on stage. `tenants`: as in the settings, each gets a key; `price`: of the model, as in the settings."""

    tenants: Sequence[Mapping[str, Any]]
    price: Mapping[str, Any]
    mocks: Mapping[str, Sequence[str]]
    """Flags of the mock behind each endpoint, which are asked in this order."""
    database: str | None = None
    """None: SQLite in the state folder."""
    workers: int = 2
    settings: Mapping[str, Any] = {}
    """Over all others."""


class Stage(Staged):
    """Everything started, in `folder`. `async with Stage(folder, script) as stage`."""

    def __init__(self, folder: Path, script: Script) -> None:
        self.folder = folder
        self.script = script
        self.state = folder / "state"
        self.access = folder / "access.jsonl"
        self.settings = folder / "fastpath.yaml"
        self.logs = {name: folder / f"mock-{name}.jsonl" for name in script.mocks}
        self.keys: dict[str, str] = {}
        self.mocks: dict[str, Mock] = {}
        self.node: Node
        self._port = free_port()  # known before the start: an arena with a name needs it
        super().__init__()

    @property
    def database(self) -> str:
        """Where the books are, as the control plane names it."""
        return self.script.database or f"sqlite:///{self.state / 'control.db'}"

    @property
    def arena(self) -> Path:
        """The folder of the node's arena: it has one with a name because its port is chosen here."""
        return arena_folder(self.state / f"127.0.0.1:{self._port}")

    def workers(self) -> list[int]:
        """Pids of the workers that live now: the supervisor has the control process as a child, too."""
        return [pid for pid in self.node.workers() if b"fastpath.process.worker" in _command_of(pid)]

    def configure(self, **changes: Any) -> None:
        """Writes the settings file, these keys replaced; the node reads it when it is told to."""
        fresh = self.settings.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(self._settings() | changes, sort_keys=False))
        fresh.replace(self.settings)

    async def _start(self) -> None:
        self._stack.callback(shutil.rmtree, self.arena, ignore_errors=True)
        for name, flags in self.script.mocks.items():
            mock = self.mocks[name] = await Mock.serve(*flags, log=self.logs[name])
            self._stack.push_async_callback(mock.stop)
        hasher = KeyHasher(make_pepper(self.state))
        self.keys = {str(tenant["name"]): new_token().reveal() for tenant in self.script.tenants}
        self._hashes = {name: hasher.hash_text(token) for name, token in self.keys.items()}
        self.configure()
        self.node = await Node.serve(self.settings)
        self._stack.push_async_callback(self.node.stop)
        await self.node.line("control on")

    def _settings(self) -> dict[str, Any]:
        endpoints = [
            {"url": mock.url, "name": name, "tier": "L1", "weight": 1000 ** (len(self.mocks) - at)}
            for at, (name, mock) in enumerate(self.mocks.items(), 1)
        ]
        control = {"port": 0} | ({"database": self.script.database} if self.script.database else {})
        return {
            "listen": {"port": self._port, "admin_port": 0, "door": "native", "drain": 5},
            "workers": self.script.workers,
            "state_dir": str(self.state),
            "control": control,
            "timeouts": TIMEOUTS,
            "retries": RETRIES,
            "log": {"access": str(self.access)},
            "tenants": [dict(tenant) for tenant in self.script.tenants],
            "keys": [{"name": name, "hash": hashed, "tenant": name} for name, hashed in self._hashes.items()],
            "models": [{"name": MODEL, "endpoints": endpoints, "price": dict(self.script.price)}],
            **self.script.settings,
        }


def _command_of(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
