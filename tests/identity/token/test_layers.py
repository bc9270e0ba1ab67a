"""The control plane uses this package, too: it must bring nothing of a worker along."""

import subprocess
import sys

import pytest

from tests.house.sources import HOME


def loaded_with(module: str) -> set[str]:
    """Names of all modules that a fresh interpreter holds after importing one of this package's."""
    code = f"import sys, fastpath.identity.token.{module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["verifier", "rotation", "login", "pending"])
def test_it_loads_nothing_of_a_worker(module: str) -> None:
    worker = {"scheduler.picker", "backends", "granian", "uvloop", "fastpath.app", "fastpath.door", "controlplane"}
    assert not loaded_with(module) & worker


def test_settings_are_checked_without_loading_cryptography() -> None:
    assert not loaded_with("trust") & {"cryptography", "jwt", "h11"}
