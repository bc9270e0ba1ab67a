"""Predicted time to the first token: which of queue, measurement and configuration is believed, and when."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.route.groups import live_of
from scheduler.endpoint import EndpointTable
from scheduler.predict import predict_ttft

NOW = 1_000.0
FACTS = ("queued", "tokens", "tokens_elsewhere", "ttft", "ttft_at", "ttft_prior", "sampled_at")


def table_with(*, prior: float | None = None, throughput: float = 2_000.0) -> EndpointTable:
    table = EndpointTable()
    table.expect(table.slot("a", 1), 1, throughput, prior)
    return table


def test_nothing_known_is_the_reading_of_the_prompt() -> None:
    assert predict_ttft(table_with(), 0, 4_000, NOW) == pytest.approx(2.0)
    assert predict_ttft(table_with(throughput=8_000.0), 0, 4_000, NOW) == pytest.approx(0.5)


def test_the_prior_holds_until_something_is_measured() -> None:
    table = table_with(prior=0.5)
    assert predict_ttft(table, 0, 100, NOW) == 0.5
    table.load.observe(0, 0.2, NOW)
    assert predict_ttft(table, 0, 100, NOW) == pytest.approx(0.2)
    assert predict_ttft(table, 0, 100, NOW + 10) == pytest.approx(0.35), "half is forgotten after ten seconds"
    assert predict_ttft(table, 0, 100, NOW + 200) == pytest.approx(0.5, abs=1e-5)


def test_a_measured_peak_is_forgotten_where_there_is_no_prior() -> None:
    table = table_with()
    table.load.observe(0, 30.0, NOW)
    found = [predict_ttft(table, 0, 100, NOW + age) for age in (0, 10, 20, 60, 300)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 30.0
    assert found[-1] < 0.1


def test_a_long_prompt_is_never_quicker_than_its_reading() -> None:
    table = table_with(prior=0.1)
    table.load.observe(0, 0.05, NOW)
    assert predict_ttft(table, 0, 32_000, NOW) == pytest.approx(16.0)


def test_what_waits_and_what_runs_is_counted() -> None:
    table = table_with()
    table.load.send(0, 10_000)
    assert predict_ttft(table, 0, 2_000, NOW) == pytest.approx(6.0 + 0.01)
    table.load.note(0, NOW, 40_000.0, 0.5, 0.0)
    assert predict_ttft(table, 0, 2_000, NOW) == pytest.approx(21.0 + 0.15)
    assert predict_ttft(table, 0, 2_000, NOW + 2) == pytest.approx(19.0 + 0.15), "it reads while nobody asks it"


@given(st.floats(), st.floats(), st.floats(0, 1e9), st.integers(0, 10**7), st.floats(0, 1e6))
def test_a_prediction_is_always_a_number(ttft: float, kv: float, at: float, uncached: int, now: float) -> None:
    table = table_with()
    table.ttft[0], table.ttft_at[0], table.kv_usage[0], table.sampled_at[0] = ttft, at, kv, at
    found = predict_ttft(table, 0, uncached, now)
    assert math.isfinite(found)
    assert found >= 0.0


@given(
    st.fixed_dictionaries(dict.fromkeys(FACTS, st.just(0.0) | st.floats(0, 1e4))),
    st.just(0.0) | st.floats(1, 1e4), st.integers(0, 100_000), st.floats(0, 1e4),
)  # fmt: skip
def test_the_kernel_of_the_score_predicts_the_same(
    facts: dict[str, float], speed: float, prompt: int, now: float
) -> None:
    table = EndpointTable()
    table.slot("a", 1)
    table.throughput[0] = speed
    for name, value in facts.items():
        table.columns[name][0] = value
    right = predict_ttft(table, 0, prompt, now)
    assert live_of(table).predicted(0, float(prompt), now) == pytest.approx(min(right, 1e9), rel=1e-9)
