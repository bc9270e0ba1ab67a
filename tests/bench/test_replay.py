"""The replay: every request and every stream is answered whole, and no two are alike."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.replay import CHUNKS, CountingTransport, fixed_callers, stream_reads, write_request
from bench.stage.callers import make_body
from fastpath.settings.pepper import read_pepper


@pytest.mark.parametrize("mode", ["requests", "streams"])
def test_a_replay_is_answered_whole(root: Path, mode: str) -> None:
    # It asserts itself that as many records say `complete` as requests were sent.
    command = [sys.executable, "-m", "bench.replay", mode, "--count", "20", "--rounds", "2"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    number, unit = done.stdout.split()
    assert float(number) > 0
    assert unit == "us"


def test_an_answer_that_is_not_complete_ends_it(root: Path) -> None:
    answer = "HTTP/1.1 500 Oh\\r\\ncontent-length: 0\\r\\n\\r\\n"
    code = f"import bench.replay as r; r.plain_answer = lambda: b'{answer}'; r.main()"
    command = [sys.executable, "-c", code, "requests", "--count", "5", "--rounds", "1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_requests_differ_in_key_and_body_alone(tmp_path: Path) -> None:
    callers, body = fixed_callers(tmp_path), make_body("request")
    first, second = (write_request(callers.tokens[n], body, n) for n in (0, 1))
    assert first != second
    assert len(first) == len(second)
    assert read_pepper(tmp_path) is not None
    assert callers.hashes == fixed_callers(tmp_path).hashes


def test_a_stream_comes_chunk_by_chunk() -> None:
    reads = stream_reads()
    assert len(reads) == 1 + CHUNKS + 1
    assert reads[-1].endswith(b"0\r\n\r\n")


def test_nothing_may_be_closed_under_a_replay() -> None:
    transport = CountingTransport(8)
    transport.writelines([b"ab", b"c"])
    assert transport.taken == 3
    with pytest.raises(AssertionError, match="closed a connection"):
        transport.abort()
