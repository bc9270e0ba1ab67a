"""One smoke run of each suite that can be short: it starts, measures, leaves a record and no process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.record import newest

pytestmark = pytest.mark.alone

LIMIT = 150.0


def smoke(root: Path, folder: Path, suite: str) -> dict[str, Any]:
    """The figures of a quick run; everything it started must have ended."""
    command = [sys.executable, "-m", "bench.run", suite, "--quick", "--results", str(folder)]
    environ = os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    record = newest(folder, suite)
    assert record is not None
    assert "a smoke run: nothing in it is a figure" in record.void
    assert not begun(folder)
    figures: dict[str, Any] = record.figures
    return figures


def begun(folder: Path) -> list[str]:
    """Command lines of processes that have something in the folder."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if f"{folder}/bench-" in line]


@pytest.mark.usefixtures("programs_of_the_bench")
def test_memory(root: Path, tmp_path: Path) -> None:
    figures = smoke(root, tmp_path, "memory")
    grown = {(row["name"], row["kind"]): [level["streams"] for level in row["levels"]] for row in figures["growth"]}
    assert grown == {("native", "idle"): [10, 20, 40], ("native", "stalled"): [2, 8]}
    (soaked,) = figures["soaks"]
    assert soaked["counts"]["wrong"] == 0
    assert min(soaked["counts"][name] for name in ("plain", "streamed", "cancelled", "failed")) > 0
    assert soaked["after"]["in_flight"] == 0


@pytest.mark.usefixtures("programs_of_the_bench")
def test_slo(root: Path, tmp_path: Path) -> None:
    levels = smoke(root, tmp_path, "slo")["levels"]
    assert [(level["kind"], level["pace"]) for level in levels] == [
        ("request", "poisson"),
        ("request", "constant"),
        ("stream", "poisson"),
    ]
    for level in levels:
        assert set(level["answered"]) == {"direct", "haproxy", "native"}
        assert all(found["ok"] > 0 and found["refused"] == 0 for found in level["answered"].values())
    assert levels[-1]["answered"]["native"]["events"] > 0


@pytest.mark.usefixtures("programs_of_the_bench")
def test_scale(root: Path, tmp_path: Path) -> None:
    (point,) = smoke(root, tmp_path, "scale")["points"]
    assert (point["curve"], point["name"], point["x"], point["void"]) == ("endpoints", "native", 3, None)
    assert point["cpu_us"] > 0
    assert point["lowest"] <= point["ratio"] <= point["highest"]


@pytest.mark.usefixtures("programs_of_the_bench")
def test_sigterm_ends_all_that_was_begun(root: Path, tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-m", "bench.run", "scale"], cwd=root, env=environ)
    end = time.monotonic() + LIMIT
    while not any("haproxy" in found for found in begun(tmp_path)):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(LIMIT) == 128 + signal.SIGTERM
    assert not begun(tmp_path)


@pytest.mark.usefixtures("programs_of_the_bench")
def test_money(root: Path, tmp_path: Path) -> None:
    figures = smoke(root, tmp_path, "money")
    (raced,) = figures["rounds"]
    assert 0 < raced["workers_us"] < raced["family_us"]
    answered = figures["course"]["answered"]
    assert answered["ok"] + answered["refused"] + answered["unfinished"] == answered["offered"]
    assert answered["ok"] > answered["offered"] / 2
    (pair,) = figures["pairs"]
    assert pair["loud"]["refused"] > pair["loud"]["ok"] > 0
    assert pair["beside"]["refused"] == 0
    (halt,) = figures["halts"]
    for answered in (halt["running"], halt["stopped"]):
        assert answered["ok"] == answered["offered"] > 0
