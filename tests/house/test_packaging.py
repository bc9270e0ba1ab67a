"""What is built is what is meant: kernels or nothing, stubs and markers inside, tests outside."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.house.sources import HOME, ROOTS

PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())


def test_a_build_without_kernels_stops(tmp_path: Path) -> None:
    shutil.copy(HOME / "setup.py", tmp_path)
    shutil.copy(HOME / "pyproject.toml", tmp_path)
    (tmp_path / "_native").mkdir()
    command = [sys.executable, "setup.py", "--name"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no kernels under _native/" in done.stderr


def test_every_root_is_typed_and_packed() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for root in ROOTS:
        assert (HOME / root / "py.typed").exists(), root
        assert "py.typed" in data[root]


def test_only_the_roots_are_packed() -> None:
    included = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(included) == sorted(f"{root}*" for root in ROOTS)


def test_every_dependency_of_the_build_is_pinned() -> None:
    assert all("==" in requirement for requirement in PROJECT["build-system"]["requires"])


def test_the_door_is_pinned_exactly() -> None:
    assert "granian==2.8.7" in PROJECT["project"]["dependencies"]


def test_files_that_a_reader_looks_for_are_there() -> None:
    for name in ("README.md", "README.zh-CN.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        assert (HOME / name).stat().st_size > 500, name
    assert "Apache License" in (HOME / "LICENSE").read_text()[:200]
