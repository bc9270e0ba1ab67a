"""An outbox to write to and read from: small segments, a clock that moves when told, no thread unless asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastpath.outbox.keeper import Options
from fastpath.outbox.reader import OutboxReader
from fastpath.outbox.writer import OutboxWriter
from scheduler.clock import ManualClock
from tests.outbox.records import payloads

SMALL = Options(segment_bytes=16384, cap_bytes=1 << 20, hold=256)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def write(folder: Path, clock: ManualClock) -> Iterator[Callable[..., OutboxWriter]]:
    """`write(options=SMALL)`: a writer, closed at the end. The test calls its `step`."""
    made: list[OutboxWriter] = []

    def begin(options: Options = SMALL) -> OutboxWriter:
        made.append(OutboxWriter(folder, clock, options, thread=False))
        return made[-1]

    yield begin
    for writer in made:
        writer.close()


@pytest.fixture
def read(folder: Path) -> Iterator[Callable[..., OutboxReader]]:
    """`read(alive=None)`: a reader, which takes the place of the one before it."""
    made: list[OutboxReader] = []

    def begin(alive: Callable[[int, int], bool] | None = None) -> OutboxReader:
        if made:
            made.pop().close()
        made.append(OutboxReader(folder, alive))
        return made[-1]

    yield begin
    for reader in made:
        reader.close()


def read_all(reader: OutboxReader, most: int = 1000) -> list[bytes]:
    """Everything there is now, acknowledged."""
    found: list[bytes] = []
    while True:
        batch = reader.read(most)
        reader.ack(batch.cursor)
        if not batch.count and not batch.damages:
            return found
        found += payloads(batch)


def fill(writer: OutboxWriter, size: int = 100) -> int:
    """Puts records until one is refused, as a worker does whose sync thread goes on; how many it were."""
    count = 0
    while writer.put(b"%08d" % count + bytes(size - 8)):
        count += 1
        if writer.appender.ready is None:
            writer.step()
    return count
