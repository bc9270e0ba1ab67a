"""The record writer: exact counts, whole lines, and a reader that may stall as long as it likes."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from _native.jsonlines import JsonLines
from fastpath.observe.access_log import BATCH, NoRecords, RecordWriter


class Line(msgspec.Struct):
    id: int
    model: str = "llama"

    def write_line(self, line: JsonLines) -> None:
        line.begin()
        line.whole("id", self.id)
        line.text("model", self.model)
        line.end()


class Broken(Line):
    """A record that fails half-way through its line."""

    def write_line(self, line: JsonLines) -> None:
        line.begin()
        line.whole("id", self.id)
        raise RuntimeError("no more")


class Pipe:
    """Both ends as files, which may be closed twice."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reading = open(reading, "rb", buffering=0)
        self.writing = open(writing, "wb", buffering=0)

    def fileno(self) -> int:
        return self.writing.fileno()

    def rest(self) -> bytes:
        """Everything up to the end; the writing end must be closed, here or by then."""
        return self.reading.readall()

    def close(self) -> None:
        self.writing.close()
        self.reading.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_reach_a_file_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    writer = RecordWriter(str(path), 10_000)
    for number in range(5_000):
        writer.put(Line(number))
    writer.close(5)
    lines = [msgspec.json.decode(line, type=Line).id for line in path.read_bytes().splitlines()]
    assert lines == list(range(5_000))
    assert (writer.written, writer.dropped) == (5_000, 0)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kick_writes_what_waits(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 100)
    writer.put(Line(1))
    writer.kick()
    assert pipe.reading.read(100) == b'{"id":1,"model":"llama"}\n'
    writer.close(5)
    assert writer.written == 1


def test_a_half_full_ring_needs_no_kick(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 10)
    for number in range(6):
        writer.put(Line(number))
    assert pipe.reading.read(10)
    writer.close(5)


def test_a_full_pipe_never_delays_put_and_every_line_is_accounted_for(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 1_000)
    slowest = 0.0
    for number in range(50_000):
        start = time.perf_counter()
        writer.put(Line(number))
        writer.kick()
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.5
    start = time.perf_counter()
    writer.close(0.2)
    assert time.perf_counter() - start < 5
    pipe.writing.close()
    received = pipe.rest().splitlines()
    numbers = [msgspec.json.decode(line, type=Line).id for line in received]
    assert numbers == sorted(set(numbers))
    assert len(received) == writer.written > 0
    assert writer.dropped > 0
    assert writer.written + writer.dropped == 50_000


def test_put_returns_while_the_pipe_stays_blocked(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 10_000)
    finished = threading.Event()

    def produce() -> None:
        for number in range(5_000):
            writer.put(Line(number, "x" * 1_000))
            writer.kick()
        finished.set()

    producer = threading.Thread(target=produce)
    producer.start()
    assert finished.wait(10)
    producer.join()
    writer.close(0)
    assert writer.written + writer.dropped == 5_000
    assert writer.written <= 65


def test_a_reader_that_comes_back_gets_the_rest(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 10_000)
    for number in range(8_000):
        writer.put(Line(number))
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.rest()))
    reader.start()
    writer.close(10)
    pipe.writing.close()
    reader.join()
    assert received[0].count(b"\n") == writer.written == 8_000


def test_a_reader_that_is_gone_costs_lines_not_the_thread(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    pipe.reading.close()
    writer = RecordWriter(pipe.fileno(), 100)
    for number in range(60):
        writer.put(Line(number))
    writer.close(5)
    assert (writer.written, writer.dropped) == (0, 60)
    assert caplog.text.count("cannot be written") == 1


def test_a_record_that_cannot_be_encoded_is_one_dropped_line(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 100)
    writer.put(Line(1))
    writer.put(Broken(7))
    writer.put(Line(2))
    writer.close(5)
    pipe.writing.close()
    assert pipe.rest().count(b"\n") == 2
    assert (writer.written, writer.dropped) == (2, 1)


def test_a_line_longer_than_a_batch_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "access.jsonl"
    writer = RecordWriter(str(path), 100)
    writer.put(Line(1, "m" * (3 * BATCH)))
    writer.put(Line(2))
    writer.close(5)
    first, second = path.read_bytes().splitlines()
    assert len(msgspec.json.decode(first, type=Line).model) == 3 * BATCH
    assert msgspec.json.decode(second, type=Line).id == 2


def test_the_lines_of_two_writers_on_one_pipe_never_mix(pipe: Pipe) -> None:
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.rest()))
    reader.start()
    writers = [RecordWriter(pipe.fileno(), 20_000) for _ in range(2)]
    for number in range(10_000):
        for writer in writers:
            writer.put(Line(number))
    for writer in writers:
        writer.kick()
    for writer in writers:
        writer.close(10)
    pipe.writing.close()
    reader.join()
    lines = received[0].splitlines()
    assert len([msgspec.json.decode(line, type=Line) for line in lines]) == 20_000


def test_others_who_share_the_pipe_keep_their_blocking_mode(pipe: Pipe) -> None:
    writer = RecordWriter(pipe.fileno(), 100)
    writer.close(1)
    assert os.get_blocking(pipe.fileno())


def test_standard_output_may_be_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = RecordWriter(ours.fileno(), 100_000)
        for number in range(20_000):
            writer.put(Line(number, "x" * 180))
        writer.close(0.1)
        theirs.setblocking(False)
        received = b""
        while writer.written > received.count(b"\n"):
            received += theirs.recv(1 << 20)
        assert 0 < writer.written < 20_000
        assert writer.written + writer.dropped == 20_000


def test_an_unopenable_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        RecordWriter(str(tmp_path / "missing" / "access.jsonl"), 10)


def test_off_is_off() -> None:
    records = NoRecords()
    records.put(Line(1))
    records.close(0)
    assert (records.written, records.dropped) == (0, 0)
