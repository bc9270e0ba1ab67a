"""Sums over workers and the text that Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families

from fastpath.observe.exposition import Totals, render
from fastpath.observe.metrics import FAMILIES, Metrics


def _worker(requests: int, in_flight: float) -> Metrics:
    metrics = Metrics()
    metrics.count("ai_inference_requests_total", ("/v1/models", "", "200"), requests)
    metrics.observe("ai_inference_latency_seconds", ("llama",), 0.2)
    metrics.read("ai_inference_in_flight", lambda: {("llama",): in_flight})
    return metrics


def _samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_workers_are_summed() -> None:
    merged = Totals().merge([_worker(2, 1).snapshot(), _worker(3, 4).snapshot()])
    assert merged.counters["ai_inference_requests_total"] == {("/v1/models", "", "200"): 5}
    assert merged.gauges["ai_inference_in_flight"] == {("llama",): 5}
    assert sum(merged.histograms["ai_inference_latency_seconds"][("llama",)][:-1]) == 2


def test_a_dead_workers_counters_stay_and_its_gauges_vanish() -> None:
    totals = Totals()
    dead, alive = _worker(2, 1), _worker(3, 4)
    before = totals.merge([dead.snapshot(), alive.snapshot()])
    totals.retire(dead.snapshot())
    after = totals.merge([alive.snapshot()])
    assert after.counters == before.counters
    assert after.histograms == before.histograms
    assert after.gauges["ai_inference_in_flight"] == {("llama",): 4}


def test_merging_twice_gives_the_same() -> None:
    totals = Totals()
    totals.retire(_worker(2, 1).snapshot())
    living = [_worker(1, 0).snapshot()]
    assert totals.merge(living) == totals.merge(living)


def test_endless_restarts_do_not_grow_the_label_sets_without_end() -> None:
    totals = Totals()
    for life in range(15):
        metrics = Metrics()
        for number in range(1_000):
            metrics.count("ai_inference_retries_total", (f"{life}-{number}",))
        totals.retire(metrics.snapshot())
    rows = totals.merge([]).counters["ai_inference_retries_total"]
    assert len(rows) == 10_001
    assert sum(rows.values()) == 15_000


def test_text_holds_every_family_and_cumulative_buckets() -> None:
    text, content_type = render(_worker(2, 1).snapshot())
    assert content_type.startswith("text/plain")
    samples = _samples(text)
    model = (("model", "llama"),)
    assert samples[("ai_inference_requests_total", (("model", ""), ("path", "/v1/models"), ("status", "200")))] == 2
    assert samples[("ai_inference_latency_seconds_bucket", (("le", "0.1"), *model))] == 0
    assert samples[("ai_inference_latency_seconds_bucket", (("le", "0.25"), *model))] == 1
    assert samples[("ai_inference_latency_seconds_bucket", (("le", "+Inf"), *model))] == 1
    assert samples[("ai_inference_latency_seconds_count", model)] == 1
    assert samples[("ai_inference_latency_seconds_sum", model)] == 0.2
    for family in FAMILIES:
        assert f"# HELP {family.name} {family.help}" in text.decode()


def test_openmetrics_is_given_when_asked_for() -> None:
    text, content_type = render(_worker(2, 1).snapshot(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.count("ai_inference_retries_total", ('a"b\\c\nd',))
    samples = _samples(render(metrics.snapshot())[0])
    assert samples[("ai_inference_retries_total", (("model", 'a"b\\c\nd'),))] == 1
