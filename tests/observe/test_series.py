"""What finished requests leave in the metrics: the right series, nothing a caller wrote, and little time."""

import time
from typing import Any

import pytest

from fastpath.observe.exposition import render
from fastpath.observe.metrics import Metrics, Snapshot
from fastpath.observe.series import MAX_KINDS, RequestSeries
from fastpath.record import DecisionRecord

PATH = "/v1/chat/completions"


def record(**facts: Any) -> DecisionRecord:
    given = {"status": 200, "outcome": "complete", "model": "llama", "endpoint": "one", "total_ms": 900.0}
    made = DecisionRecord("r", 0.0, "POST", PATH, "")
    for name, value in {**given, **facts}.items():
        setattr(made, name, value)
    return made


def streamed() -> DecisionRecord:
    tokens = {"input_tokens": 100, "output_tokens": 41, "cached_tokens": 64}
    return record(stream=True, ttft_ms=100.0, overhead_us=80, **tokens)


def settle(*records: DecisionRecord, model: str | None = "llama", path: str | None = PATH) -> Snapshot:
    metrics = Metrics()
    series = RequestSeries(metrics)
    for one in records:
        series.settled(one, path, model)
    return metrics.snapshot()


def test_a_streamed_answer_moves_everything_it_should() -> None:
    snapshot = settle(streamed(), streamed())
    counters, histograms = snapshot.counters, snapshot.histograms
    assert counters["ai_inference_requests_total"] == {(PATH, "llama", "200"): 2}
    assert counters["ai_inference_tokens_total"] == {
        ("llama", "input"): 200,
        ("llama", "output"): 82,
        ("llama", "cached"): 128,
    }
    assert counters["ai_inference_answers_total"] == {("llama", "one"): 2}
    sums = {
        "ai_inference_latency_seconds": 1_800_000,
        "ai_inference_time_to_first_token_seconds": 200_000,
        "ai_inference_time_per_output_token_seconds": 2 * 20_000,  # 800 ms for the 40 tokens after the first
    }
    for name, expected in sums.items():
        assert (histograms[name][("llama",)].count, histograms[name][("llama",)].sum_us) == (2, expected)
    assert histograms["ai_inference_gateway_overhead_seconds"][()].sum_us == 160
    assert "ai_inference_errors_total" not in counters
    assert "ai_inference_fallback_count" not in counters


def test_an_answer_in_one_piece_has_no_token_times() -> None:
    histograms = settle(record(output_tokens=5)).histograms
    assert histograms["ai_inference_latency_seconds"][("llama",)].count == 1
    assert histograms["ai_inference_time_to_first_token_seconds"][("llama",)].count == 0
    assert histograms["ai_inference_time_per_output_token_seconds"][("llama",)].count == 0


@pytest.mark.parametrize(
    ("facts", "errors", "answers"),
    [
        ({"status": 502, "outcome": "error", "error": "upstream_error"}, {("llama", "upstream_error"): 1}, 0),
        ({"status": 200, "outcome": "broken", "error": "stream_broken"}, {("llama", "stream_broken"): 1}, 0),
        ({"status": 500, "outcome": "refused"}, {("llama", "500"): 1}, 0),
        ({"status": 499, "outcome": "client_left"}, {}, 0),
        ({"status": 400, "outcome": "refused"}, {}, 1),
        ({"status": 200, "outcome": "complete", "failures": ["two status head"]}, {}, 1),
    ],
)
def test_only_failures_that_are_not_the_callers_are_errors(
    facts: dict[str, Any], errors: dict[tuple[str, ...], int], answers: int
) -> None:
    counters = settle(record(**facts)).counters
    assert counters.get("ai_inference_errors_total", {}) == errors
    assert counters["ai_inference_answers_total"] == {("llama", "one"): answers}


def test_a_fallback_is_an_answer_from_another_endpoint_than_the_first() -> None:
    moved = record(failures=["zero refused connect", "one status head"])
    stayed = record(failures=["one status head"], status=502, outcome="error", error="upstream_error")
    assert settle(moved, stayed).counters["ai_inference_fallback_count"] == {("llama",): 1}


def test_estimated_usage_is_counted() -> None:
    assert settle(record(estimated=True)).counters["fastpath_usage_estimated_total"] == {("llama",): 1}


def test_without_a_route_nothing_that_the_caller_wrote_becomes_a_label() -> None:
    refused = record(status=404, outcome="refused", model="canary-model", endpoint=None, error="model_not_found")
    overloaded = record(status=503, outcome="refused", model=None, endpoint=None, error="overloaded")
    metrics = Metrics()
    series = RequestSeries(metrics)
    series.settled(refused, PATH, None)
    series.settled(refused, None, None)
    series.settled(overloaded, PATH, None)
    counters = metrics.snapshot().counters
    assert counters["ai_inference_requests_total"] == {
        (PATH, "unknown", "404"): 1,
        ("unknown", "unknown", "404"): 1,
        (PATH, "unknown", "503"): 1,
    }
    assert counters["ai_inference_errors_total"] == {("unknown", "overloaded"): 1}
    assert b"canary" not in render(metrics.arena.series())[0]


def test_a_hundred_thousand_strangers_leave_the_page_as_it_is() -> None:
    metrics = Metrics()
    series = RequestSeries(metrics)
    series.settled(record(status=404, outcome="refused", endpoint=None), PATH, None)
    series.settled(streamed(), PATH, "*")
    before = render(metrics.arena.series())[0].count(b"\n")
    for number in range(50_000):
        made_up = {"model": f"model-{number}", "key": f"key-{number}", "label": f"label-{number}"}
        series.settled(record(status=404, outcome="refused", endpoint=None, **made_up), PATH, None)
        series.settled(record(**made_up), PATH, "*")
    page = render(metrics.arena.series())[0]
    assert page.count(b"\n") == before
    assert b"model-" not in page


def test_endless_new_names_do_not_grow_the_memory() -> None:
    series = RequestSeries(Metrics())
    for number in range(MAX_KINDS + 10):
        series.settled(record(endpoint=f"endpoint-{number}"), PATH, "llama")
    assert series.remembered == 10


def test_a_request_of_a_known_kind_costs_less_than_1500_ns() -> None:
    series, one = RequestSeries(Metrics()), streamed()
    assert min(_cost(series, one) for _ in range(15)) < 1.5e-6


def _cost(series: RequestSeries, one: DecisionRecord, times: int = 2_000) -> float:
    start = time.thread_time()
    for _ in range(times):
        series.settled(one, PATH, "llama")
    return (time.thread_time() - start) / times
