"""Real processes for tests: the mock model server and a whole gateway, on free ports of the loopback.

Each is ended by the object that started it. What several rooms of tests use lives here; the rest in their own rooms.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import hypothesis
import psutil
import pytest
import yaml

from fastpath.compiled import outdated
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token

ROOT = Path(__file__).parent.parent

# How long an example takes is the machine's affair: it fails no property.
hypothesis.settings.register_profile("fastpath", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("fastpath")


def pytest_sessionstart() -> None:
    """What is compiled must be what is written, or these tests would judge something else."""
    changed = outdated(ROOT)
    if changed:
        pytest.exit(f"changed after they were compiled: {', '.join(changed)}: run `make install`", 4)


PATIENCE = 60.0
UPSTREAM_KEY = "sk-upstream-of-the-tests"


class Program:
    """A child process whose output is read as it comes. Use as a context manager."""

    def __init__(self, *command: str, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**kept, "PYTHONPATH": str(ROOT), "HOME": str(folder), **(environ or {})},
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def line(self, text: str) -> str:
        """The first line of output with `text` in it, as soon as it is printed."""
        with self._news:
            said = self._news.wait_for(lambda: self._found(text) or not self._reader.is_alive(), PATIENCE)
            assert said, f"no line with {text!r} in {self.lines}"
            found = self._found(text)
            assert found, f"it ended without a line with {text!r}: {self.lines}"
            return found[0]

    def children(self) -> list[psutil.Process]:
        """Its child processes that are alive."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """SIGTERM, and SIGKILL for whoever does not mind it."""
        left = self.children()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in left:
            if child.is_running():
                child.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "a descendant still holds its output"
        self.process.stdout.close()

    def _found(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class ModelServer(Program):
    """The mock model server. `url` is its base URL ("http://127.0.0.1:PORT/v1"), `key` what it wants to be sent."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.key = UPSTREAM_KEY
        (folder / "upstream-key").write_text(self.key)
        flags = ("--ttft", "0", "--rate", "0", "--api-key-file", "upstream-key", *flags)
        super().__init__("-P", "-m", "backends.mock", *flags, folder=folder)
        self.url = self.line("mock model server on").split()[-1]

    def records(self) -> list[dict[str, Any]]:
        """Finished requests since the last reset, in the order in which they ended."""
        found: list[dict[str, Any]] = json.loads(self._ask("/mock/records"))
        return found

    def wait_records(self, count: int) -> list[dict[str, Any]]:
        """The records, as soon as there are `count`."""
        end = time.monotonic() + PATIENCE
        while len(found := self.records()) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} records"
            time.sleep(0.01)
        return found

    def script(self, *faults: dict[str, Any], times: int | None = None, path: str | None = None) -> None:
        """Faults for the next `times` requests (None: all)."""
        self._ask("/mock/script", {"faults": faults, "times": times, "path": path})

    def reset(self) -> None:
        """Forgets script, records and counters."""
        self._ask("/mock/reset", {})

    def _ask(self, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url.removesuffix("/v1") + path, data)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            read: bytes = response.read()
            return read


class GatewayNode(Program):
    """A supervisor with its workers. `url` and `admin_url` as its callers know them, `key` is a caller's key."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.key = new_token().reveal()
        self.log = folder / "access.log"
        self.path = folder / "fastpath.yaml"
        self.path.write_text(yaml.safe_dump(self._complete(settings)))
        given = {"UPSTREAM_KEY": UPSTREAM_KEY, **(environ or {})}
        super().__init__("-P", "-m", "fastpath.cli", "serve", "--config", str(self.path), folder=folder, environ=given)
        origin, self.admin_url = re.findall(r"http://[^\s,)]+", self.line("serving on"))
        self.url = f"{origin}/v1"

    def access_lines(self, count: int) -> list[dict[str, Any]]:
        """The access log, as soon as it has `count` lines."""
        end = time.monotonic() + PATIENCE
        while len(lines := self.log.read_text().splitlines() if self.log.exists() else []) < count:
            assert time.monotonic() < end, f"{len(lines)} of {count} lines"
            time.sleep(0.01)
        return [json.loads(line) for line in lines]

    def admin(self, path: str) -> str:
        """What the admin port answers."""
        with urllib.request.urlopen(self.admin_url + path, timeout=PATIENCE) as response:
            text: str = response.read().decode()
            return text

    def _complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        hasher = KeyHasher(make_pepper(self.folder / "state"))
        listen = {"host": "127.0.0.1", "port": 0, "admin_port": 0, "drain": 1}
        return {
            "state_dir": str(self.folder / "state"),
            "keys": [{"name": "tests", "hash": hasher.hash_text(self.key), **settings.get("key", {})}],
            **{name: value for name, value in settings.items() if name != "key"},
            "log": {"access": str(self.log), **settings.get("log", {})},
            "listen": listen | dict(settings.get("listen", {})),
        }


class Launcher:
    """Starts processes and ends them all, the last one first."""

    def __init__(self, folders: pytest.TempPathFactory, stack: ExitStack) -> None:
        self._folders = folders
        self._stack = stack

    def mock(self, *flags: str) -> ModelServer:
        """A mock model server: `mock("--tokens", "8", ...)`."""
        return self._stack.enter_context(ModelServer(self._folders.mktemp("mock"), *flags))

    def gateway(self, settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> GatewayNode:
        """A gateway: `gateway({"models": [...]})`; ports, state and a caller's key are filled in (`key`: what it has
        besides name and hash)."""
        return self._stack.enter_context(GatewayNode(self._folders.mktemp("gateway"), settings, environ))

    def program(self, *command: str) -> Program:
        """Any Python program, in a folder of its own."""
        return self._stack.enter_context(Program(*command, folder=self._folders.mktemp("program")))


@pytest.fixture
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Processes of one test."""
    with ExitStack() as stack:
        yield Launcher(tmp_path_factory, stack)


@pytest.fixture(scope="module")
def launch_for_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Processes that the tests of a module share."""
    with ExitStack() as stack:
        yield Launcher(tmp_path_factory, stack)


@pytest.fixture
def mock_process(launch: Launcher) -> Callable[..., ModelServer]:
    """Starts model servers for one test: `mock_process("--tokens", "8", ...)`."""
    return launch.mock


@pytest.fixture
def gateway_process(launch: Launcher) -> Callable[..., GatewayNode]:
    """Starts gateways for one test: `gateway_process({"models": [...]}, environ={...})`."""
    return launch.gateway


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """One mock that serves `llama` at once, six tokens an answer. Tests that use it run one after the other."""
    with ModelServer(tmp_path_factory.mktemp("mock"), "--model", "llama", "--tokens", "6") as server:
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[GatewayNode]:
    """One gateway before `model_server`: `llama` goes through as it is, `alias` is renamed to it."""
    endpoint = {"url": model_server.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
    models = [
        {"name": "llama", "endpoints": [endpoint]},
        {"name": "alias", "endpoints": [endpoint | {"model": "llama"}]},
    ]
    with GatewayNode(tmp_path_factory.mktemp("gateway"), {"models": models}) as node:
        yield node
