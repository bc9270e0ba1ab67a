"""What a streamed chunk costs in objects, from the upstream's read to the caller's write: counted in the allocator."""

import asyncio
import ctypes
import subprocess
import sysconfig
from collections import deque
from pathlib import Path

import pytest

from bench.replay import CountingTransport, Replay

STREAMS = 10


@pytest.fixture(scope="session")
def allocator(tmp_path_factory: pytest.TempPathFactory) -> ctypes.PyDLL:
    source = Path(__file__).with_name("count_allocations.c")
    built = tmp_path_factory.mktemp("allocations") / "count_allocations.so"
    include = sysconfig.get_path("include")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", f"-I{include}", "-o", built, source], check=True)
    library = ctypes.PyDLL(str(built))
    library.end_counting.restype = ctypes.c_longlong
    return library


async def test_allocations_per_chunk(allocator: ctypes.PyDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CountingTransport, "write", staticmethod(deque[bytes](maxlen=0).append))  # allocates nothing
    replay = Replay("streams", tmp_path)
    reads = replay._reads
    middle = len(reads) // 2

    def counted(more: int) -> int:
        replay._reads = [*reads[:middle], *[reads[middle]] * more, *reads[middle:]]
        allocator.begin_counting()
        replay.run(STREAMS)
        return int(allocator.end_counting())

    replay.run(20)
    counted(10)
    per_chunk = (counted(300) - counted(100)) / (200 * STREAMS)
    # The event without the upstream's framing, and the caller's chunk. What the socket gave is a third, not seen here.
    assert per_chunk <= 2.01
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert replay.records.others == 0
