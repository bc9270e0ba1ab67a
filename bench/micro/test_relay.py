"""The stream filter over a whole answer of 64 chunks, one event per read."""

from _native.reference.relay import filter_stream
from _native.relay import StreamFilter
from bench.micro.conftest import Contest
from bench.micro.shapes import END, EVENT

LIMIT = 1 << 20


def test_filter(against_twin: Contest) -> None:
    reads = [EVENT] * 64 + [END]
    whole = b"".join(reads)

    def native() -> object:
        stream = StreamFilter("chat", True, LIMIT)
        out = b"".join(map(stream.push, reads)) + stream.end()
        return out, stream.frames, stream.usage

    def pure() -> object:
        found = filter_stream(whole, "chat", True, LIMIT, True)
        return found.out, found.frames, found.usage

    against_twin("relay filter, 64 chunks", native, pure)
