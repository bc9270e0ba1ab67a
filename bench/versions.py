"""On what and with what a measurement was made, as text for its file."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.stage.programs import HOME, program_path

PROGRAMS = {"haproxy": "-v", "nginx": "-v", "wrk": "-v", "envoy": "--version", "gcc": "--version"}
PACKAGES = ("fastpath-gateway", "granian", "uvloop", "msgspec", "sglang-router", "vllm-router", "litellm")


def machine() -> dict[str, str]:
    """CPU, cores, memory, kernel. No host name."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": str(os.cpu_count()),
        "memory_gib": f"{int(memory[1]) / 2**20:.0f}" if memory else "?",
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Of the programs and packages that took part, and the commit."""
    found = {"python": platform.python_version(), "commit": commit()}
    found |= {name: text for name, flag in PROGRAMS.items() if (text := program_version(name, flag))}
    return found | {name: text for name in PACKAGES if (text := package_version(name))}


def program_version(name: str, flag: str) -> str:
    """The first version number that a program prints; empty when it is not installed."""
    path = program_path(name)
    if path is None:
        return ""
    done = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    number = re.search(r"\d+\.\d+[\w.-]*", done.stdout + done.stderr)
    return number[0] if number else "?"


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """The checked-out commit, with a + when files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    return subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False).stdout.strip() or "?"
