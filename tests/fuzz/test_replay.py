"""Runs every input that ever broke a fuzz target, and its seeds, through the same check; needs no fuzzer."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))
CRASHES = sorted(path for path in (HERE / "crashes").glob("*/*") if path.is_file() and not path.name.startswith("."))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports a target by name, as its script would find its neighbours."""
    monkeypatch.syspath_prepend(HERE)

    def _load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"fuzz_{name}", HERE / f"fuzz_{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return _load


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(load, name: str) -> None:
    target = load(name)
    count = 0
    for seed in target.seeds():
        target.check(seed)
        count += 1
    assert count


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: f"{path.parent.name}-{path.name[:20]}")
def test_old_crashes_stay_fixed(load, path: Path) -> None:
    load(path.parent.name).check(path.read_bytes())
