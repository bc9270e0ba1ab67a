"""Server-sent events: cutting a stream into frames, reading one."""

from _native import sse as native
from _native.reference import sse as twin
from bench.micro.conftest import Contest
from bench.micro.shapes import EVENT

LIMIT = 1 << 20


def test_split(against_twin: Contest) -> None:
    # Cut in the middle of a frame, so that some of it is held each time.
    ours, pure = native.FrameSplitter(LIMIT), twin.FrameSplitter(LIMIT)
    ours.feed(EVENT[:100])
    pure.feed(EVENT[:100])
    read = EVENT[100:] + EVENT[:100]
    against_twin("sse frame split", lambda: ours.feed(read), lambda: pure.feed(read))


def test_classify(against_twin: Contest) -> None:
    against_twin("sse frame classified", lambda: native.classify(EVENT), lambda: twin.classify(EVENT))


def test_join_data(against_twin: Contest) -> None:
    against_twin("sse data joined", lambda: native.join_data(EVENT), lambda: twin.join_data(EVENT))
