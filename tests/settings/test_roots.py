"""The public name `fastpath`: lazy, and only beside its own roots."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastpath

HOME = Path(fastpath.__file__).resolve().parents[1]


def run_python(code: str, folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["scheduler", "backends", "_native"])
@pytest.mark.parametrize("regular", [True, False], ids=["package", "module"])
def test_a_foreign_root_is_named_at_import(tmp_path: Path, name: str, regular: bool) -> None:
    foreign = tmp_path / "other" / (f"{name}/__init__.py" if regular else f"{name}.py")
    foreign.parent.mkdir(parents=True)
    foreign.write_text("raise SystemExit('the foreign code ran')\n")
    done = run_python("import fastpath", tmp_path, tmp_path / "other", HOME)
    assert done.returncode == 1
    assert "ImportError: Fastpath needs its own package" in done.stderr
    assert str(foreign.parent if regular else foreign) in done.stderr
    assert "the foreign code ran" not in done.stderr


def test_a_missing_root_is_named_at_import(tmp_path: Path) -> None:
    (tmp_path / "fastpath").mkdir()
    (tmp_path / "fastpath" / "__init__.py").write_text((HOME / "fastpath" / "__init__.py").read_text())
    done = run_python(
        "import sys; sys.path[:] = [p for p in sys.path if 'packages' not in p]\nimport fastpath", tmp_path
    )
    assert done.returncode == 1
    assert "needs its own package 'scheduler'" in done.stderr


def test_our_own_roots_import_from_anywhere(tmp_path: Path) -> None:
    done = run_python(
        "import fastpath, sys; print('msgspec' in sys.modules, fastpath.Settings.__name__)", tmp_path, HOME
    )
    assert (done.returncode, done.stdout) == (0, "False Settings\n"), done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gatewya'"):
        _ = fastpath.Gatewya  # type: ignore[attr-defined]  # that it is missing is what is tested
    assert {"Gateway", "Settings", "__version__"} <= set(dir(fastpath))


def test_the_version_is_the_packages() -> None:
    assert fastpath.__version__ == tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["version"]
