"""Other proxies, started as the gateway is: one CPU, the same upstream, nothing logged.

Owns how each is started. Those that are not installed are left out, except the anchors haproxy and nginx.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.stage import PROXY_CPU, templates
from bench.stage.gateway import Subject
from bench.stage.programs import HOME, Programs, program_path
from bench.stage.upstreams import Upstream
from loadtest.ports import free_ports

LITELLM_HOME = HOME / "build" / "bench-litellm"
LITELLM_KEY = "sk-litellm-of-the-race"
Starter = Callable[[Programs, Upstream, str], Subject]


def start_haproxy(programs: Programs, upstream: Upstream, name: str) -> Subject:
    (port,) = free_ports(1)
    path = programs.write(f"{name}.cfg", templates.haproxy(port, upstream.ports[0], upstream.ca))
    return Subject("haproxy", programs.start(PROXY_CPU, name, ["haproxy", "-db", "-f", str(path)], port), port)


def start_nginx(programs: Programs, upstream: Upstream, name: str) -> Subject:
    (port,) = free_ports(1)
    text = templates.nginx(programs.folder, name, port, upstream.ports[0], upstream.ca)
    command = ["nginx", "-c", str(programs.write(f"{name}.conf", text))]
    return Subject("nginx", programs.start(PROXY_CPU, name, command, port), port)


def start_envoy(programs: Programs, upstream: Upstream, name: str) -> Subject:
    (port,) = free_ports(1)
    path = programs.write(f"{name}.json", templates.envoy(port, upstream.ports[0], upstream.ca))
    command = ["envoy", "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Subject("envoy", programs.start(PROXY_CPU, name, command, port), port)


def start_sglang(programs: Programs, upstream: Upstream, name: str) -> Subject:
    return _start_router(programs, upstream, name, "sglang_router", "warn")


def start_vllm(programs: Programs, upstream: Upstream, name: str) -> Subject:
    return _start_router(programs, upstream, name, "vllm_router", "warning")


def start_litellm(programs: Programs, upstream: Upstream, name: str) -> Subject:
    """LiteLLM's proxy, out of an environment of its own (575 MB), which the first call makes."""
    program = install_litellm(LITELLM_HOME)
    (port,) = free_ports(1)
    path = programs.write(f"{name}.litellm.yaml", templates.litellm(upstream.ports[0], LITELLM_KEY))
    command = [str(program), "--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    return Subject("litellm", programs.start(PROXY_CPU, name, command, port, environ), port)


def install_litellm(home: Path) -> Path:
    """Its program, installed when it is not there."""
    program = home / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "litellm[proxy]"]
        environ = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(pip, env=environ, check=True)
    return program


#: What starts each peer.
STARTERS: dict[str, Starter] = {
    "haproxy": start_haproxy,
    "nginx": start_nginx,
    "envoy": start_envoy,
    "sglang-router": start_sglang,
    "vllm-router": start_vllm,
    "litellm": start_litellm,
}


def installed_peers() -> list[str]:
    """Names of the peers that can be started here, the anchors first; LiteLLM is not among them."""
    found = ["haproxy", "nginx"]
    found += ["envoy"] if program_path("envoy") else []
    found += ["sglang-router"] if importlib.util.find_spec("sglang_router") else []
    return found + (["vllm-router"] if importlib.util.find_spec("vllm_router") else [])


def _start_router(programs: Programs, upstream: Upstream, name: str, module: str, level: str) -> Subject:
    # Two workers: such a router chooses among several, as it is meant to.
    port, metrics = free_ports(2)
    urls = [f"http://127.0.0.1:{found}" for found in upstream.ports]
    command = [sys.executable, "-m", f"{module}.launch_router", "--worker-urls", *urls, "--policy", "cache_aware"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--prometheus-host", "127.0.0.1"]
    command += ["--prometheus-port", str(metrics), "--log-level", level]
    label = module.replace("_", "-")
    return Subject(label, programs.start(PROXY_CPU, name, command, port), port)
