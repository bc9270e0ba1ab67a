"""Who may import whom, where import-linter cannot see: inside kernels, and in processes as they run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import HOME, ROOTS, kernel_files

_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+(?:c?import)\b|c?import\s+([\w., ]+))", re.MULTILINE)


def imported_roots(text: str) -> set[str]:
    """First names of all modules that a Cython source imports or cimports."""
    named = [name for found in _IMPORT.findall(text) for names in found for name in names.split(",")]
    return {name.split()[0].partition(".")[0] for name in named if name.strip()}


#: What each root may import: itself and what is below it. Import-linter holds the same for Python.
BELOW = {
    "controlplane": {"controlplane", "fastpath", "_native"},
    "fastpath": {"fastpath", "backends", "scheduler", "_native"},
    "backends": {"backends", "scheduler", "_native"},
    "scheduler": {"scheduler", "_native"},
    "_native": {"_native"},
}
#: The arithmetic of prices, which both planes share: Python has it from fastpath.money, C from where it is defined.
SHARED = ("from scheduler.money cimport ", "from fastpath.money cimport ")
CYTHON = sorted(path for root in BELOW for kind in ("*.pyx", "*.pxd") for path in (HOME / root).rglob(kind))


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: str(path.relative_to(HOME)))
def test_cython_imports_nothing_from_above(path: Path) -> None:
    root, text = path.relative_to(HOME).parts[0], path.read_text()
    if root == "controlplane":
        text = text.replace(*SHARED)
    assert not imported_roots(text) & (set(ROOTS) - BELOW[root])


def test_an_upward_cimport_is_seen() -> None:
    text = "from libc.string cimport memchr\nfrom fastpath.errors import Header\n    cimport backends.base, cython\n"
    assert imported_roots(text) == {"libc", "fastpath", "backends", "cython"}


@pytest.mark.parametrize("root", ROOTS)
def test_each_root_is_this_projects(root: str) -> None:
    done = run(f"import {root}; print({root}.__file__)")
    assert done == str(HOME / root / "__init__.py")


def test_the_kernels_run_compiled() -> None:
    names = [path.stem for path in kernel_files() if path.suffix == ".pyx"]
    code = f"import importlib; print(*(importlib.import_module('_native.' + n).__file__ for n in {names!r}))"
    assert all(file.endswith(".so") for file in run(code).split())


def test_every_kernel_has_a_design_page_and_a_stub() -> None:
    for kernel in kernel_files():
        assert kernel.with_suffix(".pxd").exists(), kernel.name
        assert kernel.with_suffix(".pyi").exists(), kernel.name


@pytest.mark.parametrize(
    ("module", "never"),
    [
        # A worker serves; it keeps no books and runs no admin site.
        ("fastpath.app", {"sqlalchemy", "litestar", "sqlite3", "redis", "grpc", "faiss", "torch", "controlplane"}),
        # The supervisor outlives everything, so it loads next to nothing: no door above all.
        (
            "fastpath.process.supervisor",
            {"granian", "uvloop", "grpc", "faiss", "torch", "sqlalchemy", "fastpath.app", "fastpath.door.granian"},
        ),
        # It asks endpoints how they are, and serves nobody.
        (
            "fastpath.process.watcher",
            {
                *("granian", "sqlalchemy", "litestar", "sqlite3", "redis", "grpc", "faiss", "torch", "controlplane"),
                *("fastpath.app", "fastpath.pipeline", "fastpath.door", "fastpath.identity", "fastpath.account"),
                *("prometheus_client", "tokenizers", "cryptography"),
            },
        ),
        ("controlplane", {"granian", "fastpath.app", "fastpath.door.granian", "backends", "scheduler"}),
        ("scheduler.picker", {"asyncio", "socket", "fastpath", "backends"}),
        ("backends.http.client", {"fastpath", "granian"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, never: set[str]) -> None:
    loaded = set(run(f"import sys, {module}; print(*sys.modules)").split())
    assert module in loaded
    assert not loaded & never


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
