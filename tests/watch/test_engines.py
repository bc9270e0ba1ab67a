"""Pages of load, engine by engine, and pages that somebody made to do harm."""

import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.mock.engine import Engine
from backends.mock.metrics import render_metrics
from backends.mock.options import MockOptions
from backends.watch.engines import READERS
from backends.watch.exposition import MOST_SAMPLES, read_page
from backends.watch.paths import PATHS
from backends.watch.plan import Engine as EngineName
from backends.watch.reading import Reading, Unreadable
from scheduler.clock import ManualClock
from tests.watch import pages

GOLDEN: dict[str, tuple[EngineName, bytes, str | None, Reading]] = {
    "vllm": (
        "vllm", pages.VLLM, None,
        Reading(running=12, waiting=3, kv_usage=0.5, prompt_tokens=200_000, requests=200),
    ),
    "vllm before V1": (
        "vllm", pages.VLLM_BEFORE_V1, None, Reading(running=2, waiting=1, kv_usage=0.5, prompt_tokens=1000)
    ),
    "sglang": (
        "sglang", pages.SGLANG, None,
        Reading(running=16, waiting=2, kv_usage=0.28, prompt_tokens=8_128_902, requests=2000),
    ),
    "llama.cpp": (
        "llama.cpp", pages.LLAMACPP, None,
        Reading(running=1, waiting=3, kv_usage=0.125, prompt_tokens=5000, prompt_seconds=4.5),
    ),
    "llama.cpp slots": ("llama.cpp", pages.LLAMACPP_SLOTS, None, Reading(running=2)),
    "ollama": ("ollama", pages.OLLAMA, "llama3.2", Reading(cold=False)),
    "ollama, another model": ("ollama", pages.OLLAMA, "qwen3:8b", Reading(cold=True)),
    "ollama, any model": ("ollama", pages.OLLAMA, None, Reading(cold=False)),
    "ollama, none": ("ollama", b'{"models": []}', None, Reading(cold=True)),
    "triton": (
        "triton", pages.TRITON, "ensemble", Reading(running=7, waiting=3, kv_usage=0.4, requests=40)
    ),
    "triton, whatever": ("triton", pages.TRITON, None, Reading(running=7, waiting=53, kv_usage=0.4, requests=40)),
    "tensorrt-llm": (
        "tensorrt-llm", pages.TENSORRT_LLM, None, Reading(running=9, waiting=4, kv_usage=0.33, requests=12)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_a_page_is_read(name: str) -> None:
    engine, page, model, wanted = GOLDEN[name]
    assert READERS[engine](page, model) == wanted


def test_every_engine_has_a_path_a_reader_and_a_golden_page() -> None:
    assert set(PATHS) == set(READERS) == {engine for engine, *_ in GOLDEN.values()}


@pytest.mark.parametrize("engine", READERS)
@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<html>502</html>",
        b'{"error": 1}',
        b"up 1\n",
        b"\xff\x00" * 50,
        b"[1, 2]",
        b"[" * 100_000,
        b'{"models": 3}',
    ],
)
def test_a_page_of_something_else_is_told_from_an_idle_engine(engine: EngineName, page: bytes) -> None:
    with pytest.raises(Unreadable):
        READERS[engine](page, None)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama.cpp"])
def test_the_mock_speaks_as_its_engine_and_lies_when_told_to(engine: EngineName) -> None:
    mock = Engine(MockOptions(engine=engine), ManualClock(), None)  # type: ignore[arg-type]  # one of three
    mock.slots.running = 4
    reading = READERS[engine](render_metrics(mock).encode(), None)
    assert (reading.running, reading.waiting, reading.kv_usage, reading.prompt_tokens) == (4, 0, 0, 0)
    wrong = render_metrics(mock, wrong=True)
    assert "NaN" in wrong
    with pytest.raises(Unreadable):
        READERS[engine](wrong.encode(), None)


@pytest.mark.parametrize("text", ["NaN", "-1", "+Inf", "1e999", "", "x", "0x10", "1_0_"])
def test_what_is_no_amount_is_not_said(text: str) -> None:
    page = read_page(f"a {text}\nb 2\n".encode(), (b"a", b"b"))
    assert page.total(b"a") is None
    assert page.total(b"b") == 2


def test_a_name_is_not_found_inside_another() -> None:
    page = read_page(b'ab 1\na 2\na_total 3\n# a 4\nx{l="\\na 5"} 6\n a 7\n', (b"a",))
    assert page.total(b"a") == 2


def test_labels_may_hold_anything() -> None:
    page = read_page(b'a{m="} 9",n="q\\"x"} 3\n', (b"a",))
    assert page.total(b"a", keep=lambda labels: labels == {b"m": b"} 9", b"n": b'q\\"x'}) == 3


def test_exemplars_and_times_are_not_values() -> None:
    page = read_page(b'a{m="x"} 3 1700000000000\na{m="y"} 4 # {trace="z"} 9\n', (b"a",))
    assert page.total(b"a") == 7


HOSTILE: dict[str, Callable[[], bytes]] = {
    "samples without end": lambda: b"vllm:num_requests_waiting 1\n" * 70_000,
    "one long line": lambda: b"vllm:num_requests_waiting{" + b"}" * 2_000_000,
    "braces and blanks": lambda: b"vllm:num_requests_waiting{" + b"} " * 1_000_000,
    "blanks": lambda: b"vllm:num_requests_waiting" + b" " * 2_000_000,
    "quotes": lambda: b"vllm:num_requests_waiting{" + b'a="\\' * 400_000 + b"} 1\n",
    "one long name": lambda: b"vllm:num_requests_waiting{" + b"a" * 2_000_000 + b"} 1\n",
    "names in a row": lambda: b"\n".join([b"vllm:num_requests_waiting{" + b"a" * 4000] * 500),
    "labels": lambda: b"vllm:num_requests_waiting{" + b'a="1",' * 300_000 + b"} 1\n",
    "digits": lambda: b"vllm:num_requests_waiting " + b"9" * 2_000_000 + b"\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_made_to_hurt_costs_no_more_than_its_length(name: str) -> None:
    """Twice the length is not four times the time; a second is a hundred times what any of these takes."""
    page = HOSTILE[name]()
    began = time.process_time()
    try:
        reading = READERS["vllm"](page, None)
    except Unreadable:
        reading = Reading()
    assert time.process_time() - began < 1.0
    assert (reading.waiting or 0) <= MOST_SAMPLES


names = st.sampled_from([b"vllm:num_requests_waiting", b"vllm:num_requests_running", b"other", b"# vllm:x"])
lines = st.builds(
    lambda name, labels, value: name + labels + b" " + value,
    names,
    st.sampled_from([b"", b"{}", b'{a="b"}', b"{", b"}", b'{a="}"}']),
    st.one_of(st.floats(allow_nan=True).map(lambda x: str(x).encode()), st.binary(max_size=8)),
)


@given(st.lists(st.one_of(lines, st.binary(max_size=40)), max_size=20))
def test_whatever_comes_numbers_are_amounts_or_absent(parts: list[bytes]) -> None:
    try:
        reading = READERS["vllm"](b"\n".join(parts), None)
    except Unreadable:
        return
    for value in (reading.running, reading.waiting, reading.kv_usage):
        assert value is None or (math.isfinite(value) and value >= 0) or value == math.inf


@given(st.binary(max_size=200))
def test_other_readers_raise_nothing_else(page: bytes) -> None:
    for read in READERS.values():
        try:
            read(page, "m")
        except Unreadable:
            continue
