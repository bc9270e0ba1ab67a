"""The states of an endpoint and what moves it from one to the other; and what an answer to a probe says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native.arena import unpack_breaker
from backends.watch.condition import (
    BAD_UNTIL_FAILED,
    CODES,
    FAILED_LONG,
    GOOD_UNTIL_RUNNING,
    MOST_GOOD,
    SOON,
    SUSPECT_EVERY,
    Condition,
)
from backends.watch.fetch import Answer
from backends.watch.plan import Probing
from backends.watch.probe import Verdict, judge
from backends.watch.report import State

PROBING = Probing("/v1/models", interval=10.0, timeout=3.0)


class Case:
    """A condition and its time."""

    def __init__(self, probing: Probing = PROBING) -> None:
        self.now = 100.0
        self.condition = Condition(probing, self.now)

    def says(self, *verdicts: Verdict, every: float = 1.0) -> State:
        for verdict in verdicts:
            self.now += every
            self.condition.note(verdict, f"it is {verdict}", self.now)
        return self.condition.state

    @property
    def until(self) -> float:
        return unpack_breaker(self.condition.word)[2] / 1000


GOOD, BAD, REFUSED, SILENT = Verdict.GOOD, Verdict.BAD, Verdict.REFUSED, Verdict.SILENT

TABLE = {
    (): State.UNKNOWN,
    (GOOD,): State.RUNNING,
    (SILENT, SILENT): State.UNKNOWN,
    (BAD, BAD): State.UNKNOWN,
    (BAD, BAD, BAD): State.FAILED,
    (BAD, SILENT, BAD, BAD): State.FAILED,
    (BAD, BAD, GOOD): State.RUNNING,
    (REFUSED,): State.FAILED,
    (GOOD, BAD, BAD): State.RUNNING,
    (GOOD, BAD, BAD, GOOD, BAD, BAD): State.RUNNING,
    (GOOD, BAD, BAD, BAD): State.FAILED,
    (GOOD, REFUSED): State.FAILED,
    (GOOD, SILENT): State.RUNNING,
    (BAD, BAD, BAD, GOOD): State.FAILED,
    (BAD, BAD, BAD, GOOD, GOOD): State.RUNNING,
    (BAD, BAD, BAD, GOOD, BAD, GOOD): State.FAILED,
    (REFUSED, GOOD, GOOD): State.RUNNING,
    (REFUSED, SILENT, SILENT): State.FAILED,
}


@pytest.mark.parametrize("verdicts", TABLE)
def test_every_way_to_every_state(verdicts: tuple[Verdict, ...]) -> None:
    assert Case().says(*verdicts) is TABLE[verdicts]


def test_the_word_says_the_state_and_until_when() -> None:
    case = Case()
    case.says(BAD, BAD, BAD)
    state, _, until_ms = unpack_breaker(case.condition.word)
    assert state == CODES[State.FAILED]
    assert case.now + PROBING.timeout < until_ms / 1000 < case.now + 20
    case.says(GOOD, GOOD)
    assert unpack_breaker(case.condition.word) == (CODES[State.RUNNING], 0, 0)


def test_each_failed_probe_renews_the_end_and_a_silent_one_does_not() -> None:
    case = Case()
    case.says(BAD, BAD, BAD)
    first = case.until
    case.says(BAD)
    assert case.until == pytest.approx(first + 1)
    case.says(SILENT, SILENT)
    assert case.until == pytest.approx(first + 1)


@given(st.lists(st.tuples(st.sampled_from(list(Verdict)), st.floats(0.01, 100)), max_size=60), st.floats(0.1, 86400))
def test_no_exclusion_outlives_its_renewal_and_none_is_without_failure(
    told: list[tuple[Verdict, float]], interval: float
) -> None:
    case = Case(Probing("/", interval=interval, timeout=3.0))
    for verdict, every in told:
        case.says(verdict, every=every)
        assert case.until <= case.now + 2 * 5 + 3 + 1 + 0.001
        assert (case.until > 0) <= (case.condition.state is State.FAILED)
        assert 0 < case.condition.next_in(case.now) <= interval


def test_doubt_is_settled_soon_and_failures_are_asked_often_at_first() -> None:
    case = Case()
    case.says(GOOD)
    assert case.condition.next_in(case.now) == 10
    case.says(BAD)
    assert case.condition.next_in(case.now) == SUSPECT_EVERY
    case.says(BAD, BAD)
    assert case.condition.next_in(case.now) == 1
    assert case.condition.next_in(case.now + FAILED_LONG) == 5


def test_the_message_is_that_of_the_last_failure_and_goes_with_it() -> None:
    case = Case()
    case.says(BAD)
    assert case.condition.message == "it is bad"
    case.says(REFUSED)
    assert case.condition.message == "it is refused"
    case.says(GOOD, GOOD)
    assert case.condition.message == ""


def flaps(case: Case) -> int:
    """Fails and comes back with as few good answers as it takes; gives their number."""
    case.says(*[BAD] * BAD_UNTIL_FAILED)
    for count in range(1, 100):
        if case.says(GOOD) is State.RUNNING:
            return count
    raise AssertionError("it never came back")


def test_who_flaps_has_to_show_more_each_time_and_less_after_a_quiet_minute() -> None:
    case = Case()
    case.says(GOOD)
    assert [flaps(case) for _ in range(6)] == [GOOD_UNTIL_RUNNING, 4, 8, MOST_GOOD, MOST_GOOD, MOST_GOOD]
    case.now += SOON
    assert flaps(case) == GOOD_UNTIL_RUNNING


JUDGED = [
    (Answer(problem="it cannot be connected to"), "json", False, Verdict.BAD),
    (Answer(200, b'{"data": []}'), "json", False, Verdict.GOOD),
    (Answer(200, b"[]"), "json", True, Verdict.GOOD),
    (Answer(204, b""), "ok", False, Verdict.GOOD),
    (Answer(200, b""), "json", False, Verdict.BAD),
    (Answer(200, b"<html>welcome</html>"), "json", True, Verdict.BAD),
    (Answer(200, b"3"), "json", False, Verdict.BAD),
    (Answer(200, b"\xff\xfe{}"), "json", False, Verdict.BAD),
    (Answer(200, b"[" * 100_000), "json", False, Verdict.BAD),
    (Answer(302, b""), "ok", False, Verdict.BAD),
    (Answer(401, b"{}"), "json", True, Verdict.REFUSED),
    (Answer(403, b"{}"), "ok", False, Verdict.REFUSED),
    (Answer(404, b"{}"), "json", True, Verdict.SILENT),
    (Answer(405, b""), "json", True, Verdict.SILENT),
    (Answer(404, b"{}"), "json", False, Verdict.BAD),
    (Answer(429, b"{}"), "json", False, Verdict.SILENT),
    (Answer(500, b"{}"), "json", True, Verdict.BAD),
    (Answer(503, b"{}"), "ok", False, Verdict.BAD),
]


@pytest.mark.parametrize(("answer", "expect", "optional", "wanted"), JUDGED)
def test_what_an_answer_says(answer: Answer, expect: str, optional: bool, wanted: Verdict) -> None:
    verdict, message = judge(answer, expect, optional=optional)  # type: ignore[arg-type]  # one of the two
    assert verdict is wanted
    assert bool(message) == (wanted is not Verdict.GOOD)
