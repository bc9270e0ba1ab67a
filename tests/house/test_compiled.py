"""What is compiled is what is written."""

import importlib
import os
from pathlib import Path

import pytest

from fastpath.compiled import outdated

ROOT = Path(__file__).parents[2]
TYPED = sorted(
    path.with_suffix("")
    for root in ("backends", "controlplane", "fastpath", "scheduler")
    for path in (ROOT / root).rglob("*.pxd")
)


@pytest.mark.skipif(os.environ.get("FASTPATH_COMPILE") == "kernels", reason="FASTPATH_COMPILE=kernels leaves it Python")
@pytest.mark.parametrize("path", TYPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_request_path_is_compiled(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).parts))
    assert module.__file__ is not None
    assert module.__file__.endswith(".so")


def test_an_edit_after_compiling_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    room = tmp_path / "scheduler"
    room.mkdir()
    for name in ("one.py", "one.pxd", "two.py", "two.pxd", "three.py", "one.abi.so", "two.abi.so"):
        (room / name).touch()
        os.utime(room / name, (1000, 1000))
    assert outdated(tmp_path) == []
    os.utime(room / "one.py", (2000, 2000))
    os.utime(room / "three.py", (2000, 2000))  # is not compiled
    assert outdated(tmp_path) == ["scheduler/one.py"]
    os.utime(room / "one.abi.so", (3000, 3000))
    os.utime(room / "two.pxd", (2000, 2000))
    assert outdated(tmp_path) == ["scheduler/two.pxd"]
    (tmp_path / "setup.py").unlink()
    assert outdated(tmp_path) == [], "an installation, whose file times mean nothing"
