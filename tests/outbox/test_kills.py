"""Writers that die by kill -9 and readers that watch: every append that returned is there, and nothing else is."""

import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from fastpath.outbox.reader import OutboxReader
from tests.outbox import lives
from tests.outbox.records import payloads, records_of

ROOT = Path(__file__).parents[2]
KILLS = 60


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.outbox.lives", *map(str, arguments)]


def numbers_of(records: list[bytes]) -> list[int]:
    """The numbers of whole records; fails for one that nobody wrote."""
    numbers = [int(record.partition(b":")[0]) for record in records]
    assert records == [lives.record_of(number) for number in numbers]
    return numbers


def test_F34_60_kills_cost_no_record_that_was_appended(folder: Path) -> None:
    done = subprocess.run(
        command("kills", folder, KILLS, 7), cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    appended = {name: int(count) for name, count in json.loads(done.stdout)}
    assert len(appended) == KILLS
    found: dict[str, list[bytes]] = defaultdict(list)
    reader = OutboxReader(folder)
    while (batch := reader.read(500)).count or batch.damages:
        for record in records_of(batch):
            found[record.segment.rpartition("-")[0]].append(record.payload)
        reader.ack(batch.cursor)
    for name, count in appended.items():
        numbers = numbers_of(found[name])
        assert numbers == list(range(len(numbers)))
        assert count <= len(numbers) <= count + 1, "the one more was whole before it could be noted"
    assert reader.lost == 0
    reader.ack(reader.read().cursor)
    assert not list(folder.glob("*.seg*")), "all of them are dead"
    reader.close()


def test_a_reader_beside_a_writer_never_sees_half_a_record(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    seen: list[int] = []
    with subprocess.Popen(command("flood", folder, 2.5), cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
        reader = OutboxReader(folder)
        polls = 0
        while True:
            over = writer.poll() is not None
            batch = reader.read(300)
            polls += 1
            seen += numbers_of(payloads(batch))
            if polls % 20 == 0:
                reader.ack(batch.cursor)
            if over and not batch.count:
                break
            if not batch.count:
                time.sleep(0.001)  # nothing new: let the writer have the processor
        assert writer.stdout is not None
        count = int(writer.stdout.read())
    assert writer.returncode == 0
    assert count > 5_000
    assert seen == list(range(count))
    assert (reader.damaged, reader.torn, reader.lost) == (0, 0, 0)
    reader.close()
