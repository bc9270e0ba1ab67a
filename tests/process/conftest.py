"""A node in real processes, on free ports of the loopback."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE = 60.0

SETTINGS = """
listen: {{host: 127.0.0.1, port: {port}, admin_host: 127.0.0.1, admin_port: {admin_port}, drain: {drain}}}
workers: {workers}
log: {{access: "{access}"}}
models:
  - name: {model}
    endpoints: [{{url: "http://127.0.0.1:9/v1", api_key: "${{UPSTREAM_KEY}}"}}]
"""


def settings_text(model: str = "llama", workers: int = 1, drain: float = 10, access: str = "off", **ports: int) -> str:
    port, admin_port = ports.get("port", 0), ports.get("admin_port", 0)
    return SETTINGS.format(model=model, workers=workers, drain=drain, access=access, port=port, admin_port=admin_port)


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits for something that no event tells of."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.01)


class Node:
    """A supervisor with its workers."""

    def __init__(self, path: Path, app: str, options: tuple[str, ...], environ: dict[str, str]) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fake_node.py"), str(path), app, *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "UPSTREAM_KEY": "canary-upstream-key", **environ},
        )
        self.lines: list[str] = []
        self._seen: set[psutil.Process] = set()
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = self.admin_port = 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    def line(self, text: str, count: int = 1) -> str:
        """The `count`-th line with `text` in it, as soon as it is printed."""
        with self._news:
            said = self._news.wait_for(lambda: len(self._with(text)) >= count, PATIENCE)
            assert said, f"no line with {text!r} in {self.lines}"
            return self._with(text)[count - 1]

    def _with(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def serving(self) -> "Node":
        line = self.line("serving on")
        self.port, self.admin_port = (int(port) for port in re.findall(r":(\d+)", line))
        return self

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        self._seen.update(children)
        return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]

    def get(self, path: str) -> str:
        return self.open(path).read().decode()

    def open(self, path: str) -> http.client.HTTPResponse:
        """An answer whose head has come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", path)
        return connection.getresponse()

    def admin(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    def metric(self, series: str) -> float | None:
        """One sample; None when it is not there."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.admin("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process.poll() is None:
            self.workers()
            self.process.kill()
            self.process.wait()
        for worker in self._seen:
            if worker.is_running():
                worker.kill()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., None]:
    return until


@pytest.fixture
def text() -> Callable[..., str]:
    """Makes the text of a settings file: `text(model=..., workers=..., ...)`."""
    return settings_text


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts a node: `start(text, *options, app=..., **environ)`."""
    nodes: list[Node] = []

    def run(text: str, *options: str, app: str = "fake_app:build", **environ: str) -> Node:
        path = tmp_path / f"fastpath-{len(nodes)}.yaml"
        path.write_text(text)
        nodes.append(Node(path, app, options, environ))
        return nodes[-1]

    yield run
    for node in nodes:
        node.end()
