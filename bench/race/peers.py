"""The proxies that race and the upstreams they race to: configured, started, stopped.

Owns every process it starts, in the folder it is given; ends those and no other. All ports are free ones of the
loopback. Each proxy runs twice, before the plain upstream and before the paced one, as in the races before.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

import msgspec

from bench.race import templates

HOME = Path(__file__).resolve().parents[2]
KEY = "sk-test-1234567890"
PATIENCE = 60.0
Kind = Literal["request", "chunk"]
KINDS: tuple[Kind, ...] = ("request", "chunk")


class Proxy(msgspec.Struct, frozen=True):
    """A running proxy: the root of its processes and where it listens. `admin` and `log` are Fastpath's."""

    name: str
    kind: Kind
    pid: int
    port: int
    admin: int = 0
    log: Path | None = None


class RaceError(Exception):
    """The race cannot be run here; the text says why."""


def available() -> list[str]:
    """Names of the peers that are installed, the anchors first. Raises RaceError when an anchor is not."""
    for program in ("haproxy", "nginx", "wrk", "taskset"):
        if program_path(program) is None:
            raise RaceError(f"{program} is not installed")
    if len(os.sched_getaffinity(0)) < 2:
        raise RaceError("the race needs two CPUs: one for the proxy, one for the load")
    others = ["envoy"] if program_path("envoy") else []
    others += ["sglang-router"] if importlib.util.find_spec("sglang_router") else []
    return ["haproxy", "nginx", "fastpath", *others]


def program_path(name: str) -> str | None:
    """Where a program is; Debian keeps servers in sbin, pip in the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path)


class Stage:
    """Upstreams and proxies. Use as a context manager."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = names
        self._processes: list[subprocess.Popen[bytes]] = []
        self._upstreams: dict[Kind, list[int]] = {}
        self.proxies: dict[tuple[str, Kind], Proxy] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.close)
            self._start_upstreams()
            starters: dict[str, Callable[[Kind], Proxy]] = {
                "haproxy": self._start_haproxy,
                "nginx": self._start_nginx,
                "fastpath": self._start_fastpath,
                "envoy": self._start_envoy,
                "sglang-router": self._start_sglang,
            }
            for name in self._names:
                for kind in KINDS:
                    self.proxies[name, kind] = starters[name](kind)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process that was started, newest first."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start_upstreams(self) -> None:
        # Two of each: sglang-router chooses among several workers, as it is meant to.
        plain = free_ports(2)
        text = templates.plain_upstream(self._folder, plain, HOME / "bench" / "race" / "plain.json")
        self._run(1, "upstream", ["nginx", "-c", str(self._write("upstream.conf", text))], plain[0])
        paced = free_ports(2)
        for port in paced:
            self._run(1, f"paced-{port}", [sys.executable, "-m", "bench.race.upstream", str(port)], port)
        self._upstreams = {"request": plain, "chunk": paced}

    def _start_haproxy(self, kind: Kind) -> Proxy:
        (port,) = free_ports(1)
        path = self._write(f"haproxy-{kind}.cfg", templates.haproxy(port, self._upstreams[kind][0]))
        return Proxy("haproxy", kind, self._run(0, f"haproxy-{kind}", ["haproxy", "-db", "-f", str(path)], port), port)

    def _start_nginx(self, kind: Kind) -> Proxy:
        (port,) = free_ports(1)
        text = templates.nginx(self._folder, f"nginx-{kind}", port, self._upstreams[kind][0])
        path = self._write(f"nginx-{kind}.conf", text)
        return Proxy("nginx", kind, self._run(0, f"nginx-{kind}", ["nginx", "-c", str(path)], port), port)

    def _start_envoy(self, kind: Kind) -> Proxy:
        (port,) = free_ports(1)
        path = self._write(f"envoy-{kind}.json", templates.envoy(port, self._upstreams[kind][0]))
        command = ["envoy", "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return Proxy("envoy", kind, self._run(0, f"envoy-{kind}", command, port), port)

    def _start_sglang(self, kind: Kind) -> Proxy:
        port, metrics = free_ports(2)
        urls = [f"http://127.0.0.1:{upstream}" for upstream in self._upstreams[kind]]
        command = [
            sys.executable,
            "-m",
            "sglang_router.launch_router",
            "--worker-urls",
            *urls,
            "--policy",
            "cache_aware",
        ]
        command += ["--host", "127.0.0.1", "--port", str(port), "--prometheus-host", "127.0.0.1"]
        command += ["--prometheus-port", str(metrics), "--log-level", "warn"]
        return Proxy("sglang-router", kind, self._run(0, f"sglang-{kind}", command, port), port)

    def _start_fastpath(self, kind: Kind) -> Proxy:
        port, admin = free_ports(2)
        log, state = self._folder / f"access-{kind}.log", self._folder / "state"
        environ = {
            "RACE_STATE": str(state),
            "RACE_KEY_HASH": hash_key(state),
            "RACE_UPSTREAM": f"http://127.0.0.1:{self._upstreams[kind][0]}/v1",
            "RACE_LOG": str(log),
        }
        command = [
            sys.executable,
            "-m",
            "fastpath.cli",
            "serve",
            "--config",
            str(HOME / "bench" / "everything-on.yaml"),
        ]
        command += ["--port", str(port), "--admin-port", str(admin)]
        pid = self._run(0, f"fastpath-{kind}", command, port, environ)
        return Proxy("fastpath", kind, pid, port, admin, log)

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def _run(self, cpu: int, name: str, command: list[str], port: int, environ: dict[str, str] | None = None) -> int:
        """Starts a program on one CPU; returns its pid once it accepts connections. Raises RaceError when it ends."""
        program = program_path(command[0]) or command[0]
        with (self._folder / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                ["taskset", "-c", str(cpu), program, *command[1:]],
                cwd=HOME,
                env=os.environ | {"PYTHONPATH": str(HOME)} | (environ or {}),
                stdout=out,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._processes.append(process)
        end = time.monotonic() + PATIENCE
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RaceError(f"{name} did not start: {(self._folder / f'{name}.out').read_text()[-2000:]}")
            time.sleep(0.05)
        return process.pid


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody uses, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [found.getsockname()[1] for found in sockets]


def accepts(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def hash_key(state: Path) -> str:
    """The hash of the race's key under the pepper of a state folder, which is made when it is not there."""
    command = [sys.executable, "-m", "fastpath.cli", "keys", "hash", "--state-dir", str(state)]
    environ = os.environ | {"PYTHONPATH": str(HOME)}
    return subprocess.run(command, input=KEY, env=environ, capture_output=True, text=True, check=True).stdout.strip()
