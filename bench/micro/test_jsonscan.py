"""The JSON scanner: decision fields of a request, the check of an answer, the facts of a stream's frame."""

import pytest

from _native import jsonscan as native
from _native.reference import jsonscan as twin
from bench.micro.conftest import Contest
from bench.micro.shapes import ANSWER, EVENT, body

NAMES = ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user")


@pytest.mark.parametrize(("name", "file"), [("0.9 kB", "request"), ("53 kB", "request_50k")])
def test_fields(against_twin: Contest, name: str, file: str) -> None:
    data, ours, pure = body(file), native.Fields(NAMES), twin.Fields(NAMES)
    against_twin(f"jsonscan fields of {name}", lambda: ours.read(data).spans(), lambda: pure.read(data).spans())


def test_scan(against_twin: Contest) -> None:
    data = ANSWER.partition(b"\r\n\r\n")[2]
    against_twin("jsonscan check of an answer", lambda: native.scan(data), lambda: twin.scan(data))


def test_frame_facts(against_twin: Contest) -> None:
    data = EVENT.removeprefix(b"data: ").strip()
    against_twin("jsonscan facts of a frame", lambda: native.frame_facts(data), lambda: twin.frame_facts(data))
