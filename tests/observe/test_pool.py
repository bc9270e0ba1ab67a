"""Error rates and health from the counters of the last minute."""

from collections.abc import Iterable

import pytest

from fastpath.observe.metrics import Metrics
from fastpath.observe.pool import SAMPLE_EVERY, WINDOW, Pool
from scheduler.clock import ManualClock

MODELS = {"llama": ("one", "two"), "small": ("three",)}


class Minute:
    """A pool over counters, in manual time."""

    def __init__(self, models: dict[str, tuple[str, ...]] = MODELS) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.pool = Pool(self.clock, models)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / SAMPLE_EVERY)):
            self.clock.advance(SAMPLE_EVERY)
            assert self.pool.due
            self.pool.look(self.metrics.arena.series())
            assert not self.pool.due

    def gauges(self, family: str) -> dict[tuple[str, ...], float]:
        self.pool.look(self.metrics.arena.series())
        return {labels: value for name, labels, _, value in self.pool.rows() if name == family}

    def serve(self, model: str, requests: int, errors: int = 0) -> None:
        self.metrics.count("ai_inference_requests_total", ("/v1/chat/completions", model, "200"), requests - errors)
        self.metrics.count("ai_inference_requests_total", ("/v1/chat/completions", model, "502"), errors)
        self.metrics.count("ai_inference_errors_total", (model, "upstream_error"), errors)

    def attempt(self, endpoint: str, answers: int = 0, failures: Iterable[str] = ()) -> None:
        self.metrics.count("ai_inference_answers_total", ("llama", endpoint), answers)
        for cause in failures:
            self.metrics.count("ai_inference_upstream_errors_total", (endpoint, cause))


def test_the_error_rate_is_the_share_of_failed_requests_of_the_last_minute() -> None:
    minute = Minute()
    minute.serve("llama", 40, errors=10)
    minute.serve("stranger", 5, errors=5)
    assert minute.gauges("ai_inference_error_rate") == {("llama",): 0.25, ("small",): 0}
    minute.pass_time(WINDOW - SAMPLE_EVERY)
    minute.serve("llama", 60)
    assert minute.gauges("ai_inference_error_rate")[("llama",)] == pytest.approx(0.1)
    minute.pass_time(2 * SAMPLE_EVERY)
    assert minute.gauges("ai_inference_error_rate")[("llama",)] == 0


def test_an_endpoint_is_down_while_all_it_does_is_fail() -> None:
    minute = Minute()
    down = ("llama", "one")
    assert set(minute.gauges("ai_inference_endpoint_health").values()) == {1}
    minute.attempt("one", failures=("refused", "connect_timeout"))
    minute.attempt("two", answers=1, failures=("status",))
    health = minute.gauges("ai_inference_endpoint_health")
    assert {labels for labels, value in health.items() if value == 0} == {down}
    minute.attempt("one", answers=1)
    assert minute.gauges("ai_inference_endpoint_health")[down] == 1
    minute.pass_time(WINDOW + SAMPLE_EVERY)
    minute.attempt("one", failures=("refused",))
    assert minute.gauges("ai_inference_endpoint_health")[down] == 0
    minute.pass_time(WINDOW + SAMPLE_EVERY)
    assert minute.gauges("ai_inference_endpoint_health")[down] == 1


def test_what_the_settings_name_is_shown_and_nothing_else() -> None:
    minute = Minute()
    assert minute.gauges("ai_inference_queue_length") == {("llama",): 0, ("small",): 0}
    minute.pool.configure({"new": ("four",)})
    assert minute.gauges("ai_inference_queue_length") == {("new",): 0}
    assert minute.gauges("ai_inference_endpoint_health") == {("new", "four"): 1}


def test_with_more_endpoints_than_can_be_shown_those_that_fail_are() -> None:
    minute = Minute({"llama": tuple(f"endpoint-{number:04}" for number in range(1_000))})
    minute.attempt("endpoint-0999", failures=("refused",))
    health = minute.gauges("ai_inference_endpoint_health")
    assert len(health) == 192
    assert [labels for labels, value in health.items() if value == 0] == [("llama", "endpoint-0999")]


def test_an_endpoint_whose_probes_fail_is_down_whatever_its_requests_say() -> None:
    minute = Minute()
    minute.attempt("one", answers=5)
    minute.pool.failed = lambda: {("llama", "one")}
    health = minute.gauges("ai_inference_endpoint_health")
    assert health == {("llama", "one"): 0, ("llama", "two"): 1, ("small", "three"): 1}
