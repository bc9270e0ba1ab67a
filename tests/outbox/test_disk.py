"""Disks that are full (F28) and disks that fail (F29): nothing is lost that was let in, nobody is told a lie."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastpath.outbox.keeper import Options
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import SystemClock
from tests.outbox import lives
from tests.outbox.conftest import read_all
from tests.outbox.records import payloads

ROOT = Path(__file__).parents[2]
OPTIONS = Options(segment_bytes=1 << 20, retry_every=0.02, hold=512)
PATIENCE = 60.0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def wait_until(true: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if true():
            return
        waiting.wait(0.005)
    pytest.fail("it never came")


def fill_volume(place: Path) -> Path:
    """A file that takes what is left."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
    return ballast


def test_F28_a_full_disk_refuses_ends_what_began_and_recovers(volume: Path) -> None:
    writer = OutboxWriter(volume / "outbox", SystemClock(), OPTIONS)
    reader = OutboxReader(volume / "outbox")
    try:
        wait_until(lambda: writer.appender.ready is not None)
        ballast = fill_volume(volume)
        opened, marks = 0, 0
        while writer.put_opening(b"intent %d " % opened + bytes(200)):
            opened += 1
            marks += writer.put(bytes(300))
        assert opened > 1_000
        assert not writer.healthy
        wait_until(lambda: "No space left" in writer.problem)
        ends = [writer.put_closing(b"end" + bytes(490)) for _ in range(opened)]
        assert all(ends), "running requests end"
        ballast.unlink()
        wait_until(lambda: writer.healthy)
        assert writer.problem == ""
        assert writer.put_opening(b"welcome back")
        found = read_all(reader)
        assert len(found) == writer.appended == 2 * opened + marks + 1
    finally:
        writer.close()
        reader.close()


def test_F28_settling_frees_a_disk_that_is_full_to_the_last_byte(volume: Path) -> None:
    writer = OutboxWriter(volume / "outbox", SystemClock(), OPTIONS)
    reader = OutboxReader(volume / "outbox")
    try:
        while writer.appended < 3_000 or writer.healthy:
            if not writer.put(bytes(500)):
                wait_until(lambda: writer.appender.ready is not None or bool(writer.problem))
                if writer.problem and not writer.put(bytes(500)):
                    break
        fill_volume(volume)
        before = writer.appended
        batch = reader.read(10_000)
        assert batch.count == before
        # Whole segments go first, and the writer may take what they left before the cursor gets its page.
        with contextlib.suppress(OSError):
            reader.ack(batch.cursor)
        wait_until(lambda: writer.healthy)
        assert writer.put(b"goes on")
        assert payloads(reader.read()) == [b"goes on"]
    finally:
        writer.close()
        reader.close()


def test_F28_a_worker_starts_on_a_full_disk_and_waits_for_room(volume: Path) -> None:
    ballast = fill_volume(volume)
    writer = OutboxWriter(volume / "outbox", SystemClock(), OPTIONS)
    try:
        assert not writer.healthy
        assert not writer.put(b"x")
        assert "No space left" in writer.problem
        assert not list((volume / "outbox").iterdir()), "nothing half-made stays"
        ballast.unlink()
        wait_until(lambda: writer.healthy)
        assert writer.put(b"x")
    finally:
        writer.close()


# -- a disk that fails: msync and fdatasync give EIO, as strace makes it -----------------------------------------------


def run_traced(folder: Path, steps: int, failing: dict[str, str], error: str = "EIO") -> list[list[object]]:
    """What `lives.sync_steps` says while these system calls fail when each is made for the so-many-th time.

    A sync of records is one msync. Making a segment of one slice takes one fdatasync, and two are made at first.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    inject = ["-e", f"trace={','.join(failing)}"]
    for call, when in failing.items():
        inject += ["-e", f"inject={call}:error={error}:when={when}"]
    program = [sys.executable, "-m", "tests.outbox.lives", "sync", str(folder), str(steps)]
    command = [strace, "-f", "-qq", "-o", os.devnull, *inject, *program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if "PTRACE" in done.stderr:
        pytest.skip("may not trace")
    assert done.returncode == 0, done.stderr
    found: list[list[object]] = json.loads(done.stdout)
    return found


def test_F29_a_sync_that_failed_is_never_taken_for_one_that_did_not(folder: Path) -> None:
    """Step 2's sync fails: its records go to a new segment, and count as synced only with that."""
    steps = run_traced(folder, 4, {"msync": "2"})
    assert [step[0] for step in steps] == [10, 20, 30, 40]
    assert [step[1] for step in steps] == [0, 1, 1, 1]
    assert [step[4] for step in steps] == [0, 10, 10, 10]
    reader = OutboxReader(folder)
    assert read_all(reader) == [lives.record_of(number) for number in range(40)], "each once, in order"
    reader.close()


def test_F29_a_disk_that_goes_on_failing_is_told(folder: Path) -> None:
    """Nothing is synced, nothing is healthy, and still every record is there for a reader; afterwards all is well."""
    steps = run_traced(folder, 6, {"msync": "2..3", "fdatasync": "3..5"})
    assert [step[0] for step in steps] == [10, 10, 10, 10, 50, 60]
    assert [step[2] for step in steps] == [True, False, False, False, True, True]
    assert steps[1][3] == steps[3][3] == "records could not be synced: Input/output error"
    assert steps[-1][3] == ""
    reader = OutboxReader(folder)
    assert read_all(reader) == [lives.record_of(number) for number in range(60)]
    reader.close()


def test_F29_the_sync_of_a_full_segment_fails_like_any_other(folder: Path) -> None:
    """That one is an fdatasync, which the seal is part of: the third, when the first segment is full."""
    steps = run_traced(folder, 30, {"fdatasync": "3"})
    assert steps[-1][1:4] == [1, True, ""]
    reader = OutboxReader(folder)
    assert read_all(reader) == [lives.record_of(number) for number in range(300)], "each once, in order"
    reader.close()


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_F28_a_disk_that_gives_no_new_segment_is_told(folder: Path, error: str) -> None:
    steps = run_traced(folder, 3, {"fallocate": "2+"}, error)
    assert all("no room for records" in str(step[3]) for step in steps)
    assert steps[-1][0] == 30, "what there is goes on being used"
    reader = OutboxReader(folder)
    assert read_all(reader) == [lives.record_of(number) for number in range(30)]
    reader.close()
