"""From readings to samples: rates between readings, and none across a restart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.watch.load import MOST_TOKENS, USUAL_PROMPT, Trend, is_busy
from backends.watch.plan import COLD
from backends.watch.reading import Reading


def test_what_waits_is_counted_in_tokens_of_the_usual_prompt() -> None:
    assert Trend(2000).sample(Reading(running=2, waiting=3, kv_usage=0.5), 1.0) == (3 * USUAL_PROMPT, 0.5, 0, 2, 3)


def test_the_mean_prompt_comes_from_the_counters() -> None:
    trend = Trend(2000)
    assert trend.sample(Reading(waiting=2, prompt_tokens=1000, requests=10), 1.0)[0] == 2 * 100
    assert trend.sample(Reading(waiting=2, prompt_tokens=5000, requests=12), 2.0)[0] == 2 * 2000  # the latest two
    assert trend.sample(Reading(waiting=2, prompt_tokens=5000, requests=12), 3.0)[0] == 2 * 2000  # none since


def test_speed_is_told_only_by_an_engine_that_had_work_all_the_time() -> None:
    trend = Trend(2000)
    trend.sample(Reading(waiting=1, prompt_tokens=0), 10.0)
    assert trend.sample(Reading(waiting=5, prompt_tokens=30_000), 12.0)[2] == 15_000
    assert trend.sample(Reading(waiting=0, prompt_tokens=30_100), 14.0)[2] == 15_000  # idle: says nothing new
    assert trend.sample(Reading(waiting=1, prompt_tokens=30_200), 16.0)[2] == 15_000


def test_an_engine_that_counts_its_seconds_is_believed_at_any_load() -> None:
    trend = Trend(2000)
    trend.sample(Reading(running=1, prompt_tokens=1000, prompt_seconds=1.0), 10.0)
    assert trend.sample(Reading(running=0, prompt_tokens=4000, prompt_seconds=2.5), 20.0)[2] == 2000


def test_a_restart_of_the_engine_begins_anew() -> None:
    trend = Trend(2000)
    trend.sample(Reading(waiting=1, prompt_tokens=50_000, requests=50), 10.0)
    trend.sample(Reading(waiting=1, prompt_tokens=60_000, requests=51), 11.0)
    queued, _, speed, _, _ = trend.sample(Reading(waiting=1, prompt_tokens=300, requests=1), 12.0)
    assert (queued, speed) == (USUAL_PROMPT, 0)
    assert trend.sample(Reading(waiting=1, prompt_tokens=1300, requests=2), 13.0)[2] == 1000


def test_nothing_is_compared_across_silence() -> None:
    trend = Trend(2000)
    trend.sample(Reading(waiting=1, prompt_tokens=0), 10.0)
    trend.forget()
    assert trend.sample(Reading(waiting=1, prompt_tokens=9000), 11.0)[2] == 0


def test_a_model_that_is_not_in_memory_stands_behind_the_time_to_read_it() -> None:
    assert Trend(3000).sample(Reading(cold=True), 1.0) == (COLD * 3000, 0, 0, 0, 0)
    assert Trend(3000).sample(Reading(cold=False), 1.0) == (0, 0, 0, 0, 0)


def test_busy_is_who_runs_or_waits() -> None:
    assert is_busy((0, 0, 0, 1, 0))
    assert is_busy((0, 0, 0, 0, 1))
    assert not is_busy((5, 1, 5, 0, 0))


amount = st.none() | st.floats(0, 1e300)
readings = st.builds(Reading, amount, amount, amount, amount, amount, amount, st.booleans())


@given(st.lists(st.tuples(readings, st.floats(0, 10)), max_size=10))
def test_samples_are_amounts_whatever_an_engine_says(told: list[tuple[Reading, float]]) -> None:
    trend, now = Trend(2000), 0.0
    for reading, seconds in told:
        now += seconds
        queued, kv_usage, speed, running, waiting = trend.sample(reading, now)
        assert 0 <= queued <= MOST_TOKENS
        assert 0 <= kv_usage <= 1
        assert all(math.isfinite(value) and value >= 0 for value in (speed, running, waiting))


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_time_that_stands_still_gives_no_speed(seconds: float) -> None:
    trend = Trend(2000)
    trend.sample(Reading(waiting=1, prompt_tokens=0), 10.0)
    assert trend.sample(Reading(waiting=1, prompt_tokens=100), 10.0 + seconds)[2] == 0
