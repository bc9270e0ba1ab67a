"""Load reports of model servers, as they send them and as somebody hostile would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects.orca import LONGEST, read_report

VLLM = b"TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2.0"


def test_what_vllm_sends() -> None:
    assert read_report(VLLM) == (2048.0, 0.4, 0.0, 0.0, 2.0)
    value = b'JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 2.0}}'
    assert read_report(value) == (2048.0, 0.4, 0.0, 0.0, 2.0)


def test_tokens_are_better_than_requests() -> None:
    value = b"text num_waiting_uncached_tokens=700, num_queue_reqs=1, num_running_reqs=3, token_usage=0.9"
    value += b", prompt_throughput=8e3"
    assert read_report(value) == (700.0, 0.9, 8000.0, 3.0, 1.0)


def test_the_speed_of_an_idle_server_is_not_what_it_can_do() -> None:
    assert read_report(b"TEXT queued_tokens=0,prompt_throughput=3.5") == (0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"TEXT",
        b"BIN CAESAAA=",
        b"TEXT named_metrics.kv_cache_usage_perc=0.4",
        b"TEXT num_requests_waiting=-1",
        b"TEXT num_requests_waiting=nan",
        b"TEXT num_requests_waiting=inf",
        b"TEXT num_requests_waiting=1e300",
        b"TEXT num_requests_waiting=1; DROP TABLE",
        b"TEXT \xff\xfe=1",
        b"JSON {",
        b"JSON []",
        b'JSON {"named_metrics": {"num_requests_waiting": "2"}}',
        b"JSON " + b"[" * 1500,
        b"TEXT " + b"a=1," * 64 + b"num_requests_waiting=1",
        b"TEXT num_requests_waiting=1," + b" " * LONGEST,
    ],
)
def test_what_is_ignored(value: bytes) -> None:
    assert read_report(value) is None


def test_one_impossible_number_is_as_if_it_had_not_been_said() -> None:
    assert read_report(b"TEXT num_requests_waiting=1,kv_cache_usage_perc=40") == (1024.0, 0.0, 0.0, 0.0, 1.0)
    assert read_report(b"TEXT num_requests_waiting=1,num_running_reqs=-4") == (1024.0, 0.0, 0.0, 0.0, 1.0)


@given(st.binary(max_size=3_000) | st.binary(max_size=200).map(lambda tail: VLLM + tail))
def test_anything_is_read_or_ignored(value: bytes) -> None:
    found = read_report(value)
    if found is not None:
        assert all(0.0 <= number <= 1.1e9 for number in found)
        assert found[1] <= 1.0
