"""The settlement killed with -9 at every single step: whatever was done, the next life ends with the same books."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastpath.outbox.facts import encode
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock
from tests.conftest import ROOT
from tests.controlplane.ledger.facts import delivered, end, failed, intent, mark, refused

SCRIPT = Path(__file__).with_name("points.py")
FACTS = [
    *(intent(1), mark(1), end(1)),
    *(intent(2), intent(2, 2), mark(2, 2), end(2, failed(1), delivered(2))),
    refused(3),
    *(intent(4), mark(4)),  # its worker died
    b"no fact at all",
    intent(5),
]


def write_outbox(folder: Path) -> None:
    """By a worker that was killed: the life of its stream is over, and two of its requests have no end."""
    pid = os.fork()
    if pid == 0:
        writer = OutboxWriter(folder, ManualClock(), Options(segment_bytes=65536), token=7, thread=False)
        for fact in FACTS:
            writer.put(fact if isinstance(fact, bytes) else encode(fact))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.timeout(300)
def test_F34_killed_at_every_step_it_ends_with_the_same_books(tmp_path: Path, migrated_file: Path) -> None:
    write_outbox(tmp_path / "outbox")
    database = tmp_path / "empty.db"
    shutil.copy(migrated_file, database)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(database)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["whole"].endswith("[][]"), "no violation, and no segment left"
    lives = told["lives"]
    assert [number for number, (_, same) in enumerate(lives, 1) if not same] == []
    assert {ended for ended, _ in lives[:-1]} == {-signal.SIGKILL}
    assert lives[-1][0] == 0, "the last one came to its end"
    assert len(lives) > 60, "statements, commits, cursors and removals were all met"
