"""What is read from one answer, with time in the test's hands."""

import json
from typing import Any

import pytest

from backends.base import Cause, Moment, UpstreamError
from fastpath.bench.answer import FRAME_LIMIT, Answer
from fastpath.bench.load import Job
from fastpath.bench.tally import Tally, outcome_of
from scheduler.clock import ManualClock

STREAM = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
DONE = b"data: [DONE]\n\n"
JOB = Job(0, None, 10, 4)


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


class Reading:
    """An answer being read; it was sent when the clock stood at `began`."""

    def __init__(self, status: int = 200, headers: list[tuple[bytes, bytes]] = STREAM) -> None:
        self.clock = ManualClock()
        self.began = self.clock.monotonic()
        self.ends = 0
        self.answer = Answer(self.clock, self.began, self._end)
        self.answer.head(status, headers)

    def _end(self, answer: Answer) -> None:
        assert answer is self.answer
        self.ends += 1

    def at(self, seconds: float, *data: bytes) -> "Reading":
        """These reads come `seconds` after the last ones."""
        self.clock.advance(seconds)
        for one in data:
            self.answer.write(one)
        return self

    def finish(self) -> Answer:
        self.answer.finish()
        assert self.ends == 1
        return self.answer

    def fail(self, cause: Cause = Cause.DISCONNECTED) -> Answer:
        self.answer.fail(UpstreamError(cause, Moment.BODY, "reset"))
        assert self.ends == 1
        return self.answer

    def outcome(self) -> Any:
        return outcome_of(JOB, 0.0, 0.0, self.began, self.answer)


def test_the_first_token_is_the_first_content_and_not_the_role() -> None:
    reading = Reading().at(0.1, event({"role": "assistant", "content": ""})).at(0.2, event({"content": "a"}))
    reading.at(0.05, event({"content": "b"}), event({"content": "c"})).at(0.07, event({"content": "d"}))
    usage = {"prompt_tokens": 12, "completion_tokens": 4}
    reading.at(0.01, event({}, "stop"), event(usage=usage), DONE).finish()
    outcome = reading.outcome()
    assert outcome.ttft == pytest.approx(0.3)
    assert outcome.tpot == pytest.approx(0.12 / 3)
    assert outcome.e2e == pytest.approx(0.43)
    assert (outcome.input_tokens, outcome.output_tokens, outcome.pieces, outcome.reported) == (12, 4, 4, True)
    assert list(reading.answer.gaps) == pytest.approx([0.05, 0.0, 0.07])


@pytest.mark.parametrize(
    "delta",
    [{"reasoning_content": "hm"}, {"reasoning": "hm"}, {"refusal": "no"}, {"tool_calls": [{"index": 0}]}],
)
def test_reasoning_refusals_and_tool_calls_are_content(delta: dict[str, Any]) -> None:
    reading = Reading().at(0.5, event(delta)).at(0.1, event({}, "stop"), DONE)
    assert reading.finish().error is None
    assert reading.outcome().ttft == pytest.approx(0.5)


def test_text_completions_are_read() -> None:
    reading = Reading().at(0.1, b'data: {"choices": [{"text": "a", "finish_reason": "length"}]}\n\n' + DONE)
    assert reading.finish().pieces == 1


def test_events_are_found_however_the_bytes_are_cut() -> None:
    stream = event({"content": "ü"}) + b": comment\n\n" + event({"content": "b"}, "stop") + DONE
    reading = Reading()
    for byte in stream.replace(b"\n", b"\r\n"):
        reading.at(0.001, bytes([byte]))
    assert reading.finish().error is None
    assert reading.answer.pieces == 2


def test_hidden_reasoning_is_no_token_that_was_waited_for() -> None:
    usage = {"completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 97}}
    reading = Reading().at(9, event({"content": "a"})).at(0.2, event({"content": "b"}, "stop"), event(usage=usage))
    reading.at(0, DONE).finish()
    assert reading.outcome().output_tokens == 3
    assert reading.outcome().tpot == pytest.approx(0.1)
    shown = Reading().at(1, event({"reasoning": "h"})).at(1, event({"content": "b"}, "stop"), event(usage=usage), DONE)
    shown.finish()
    assert shown.outcome().output_tokens == 100


@pytest.mark.parametrize("usage", [None, {"completion_tokens": 0}, {"completion_tokens": -5}, {"prompt_tokens": 5}])
def test_without_honest_usage_pieces_are_counted_and_it_says_so(usage: Any) -> None:
    reading = Reading().at(0.1, event({"content": "a"}), event({"content": "b"}, "stop", usage=usage), DONE)
    reading.finish()
    assert (reading.outcome().output_tokens, reading.outcome().reported) == (2, False)


def test_a_stream_without_done_is_whole_when_it_said_why_it_ended() -> None:
    assert Reading().at(0.1, event({"content": "a"}, "stop")).finish().error is None
    assert Reading().at(0.1, event({"content": "a"})).finish().error == "truncated"


def test_what_breaks_behind_the_last_event_is_no_failure() -> None:
    assert Reading().at(0.1, event({"content": "a"}, "stop"), DONE).fail().error is None
    assert Reading().at(0.1, event({"content": "a"}, "stop")).fail().error == "disconnected"


@pytest.mark.parametrize(
    ("data", "error", "detail"),
    [
        (event(error={"message": "out of memory"}), "in_band", "out of memory"),
        (b"data: {not json\n\n", "malformed", ""),
        (b'data: {"choices": 5}\n\n', "malformed", ""),
        (b"data: " + b"x" * (FRAME_LIMIT + 1), "oversized_event", "1048576"),
        (event({"role": "assistant"}, "stop") + DONE, "empty", "without content"),
        (DONE, "empty", "without content"),
    ],
)
def test_a_bad_stream_fails_by_its_class(data: bytes, error: str, detail: str) -> None:
    answer = Reading().at(0.1, data).finish()
    assert answer.error == error
    assert detail in answer.detail


def test_an_error_answer_fails_with_its_status_and_says_what_it_said() -> None:
    answer = (
        Reading(429, [(b"content-type", b"application/json")]).at(0.1, b'{"error":\n "busy"}', b"x" * 9000).finish()
    )
    assert (answer.error, answer.pieces) == ("http_429", 0)
    assert answer.detail.startswith('{"error": "busy"}')
    assert len(answer.detail) <= 200
    assert Reading(200, []).at(0, b"<html>").finish().error == "no_stream"


def test_a_failed_answer_has_no_times_and_counts_nowhere_else() -> None:
    reading = Reading().at(0.1, event({"content": "a"}), event({"content": "b"})).at(0.1, event(error="broke"))
    tally = Tally(reading.began)
    tally.on_sent()
    tally.on_end(JOB, reading.began, reading.began, reading.finish())
    (outcome,) = tally.outcomes
    assert (outcome.error, outcome.ttft, outcome.tpot, outcome.e2e) == ("in_band", None, None, None)
    assert (tally.completed, tally.in_flight, tally.errors) == (0, 0, {"in_band": 1})
    assert (tally.gaps.summary().count, dict(tally.tokens), dict(tally.ends)) == (0, {}, {})
    assert dict(tally.failures) == {0: 1}


def test_tokens_are_counted_in_the_second_in_which_they_came() -> None:
    reading = Reading().at(0.5, event({"content": "a"})).at(1.0, event({"content": "b"}), event({"content": "c"}))
    reading.at(1.0, event({"content": "d"}, "stop"), event(usage={"completion_tokens": 8}), DONE)
    tally = Tally(reading.began)
    tally.on_sent()
    tally.on_end(JOB, reading.began, reading.began, reading.finish())
    assert dict(tally.tokens) == {0: 2.0, 1: 4.0, 2: 2.0}
    assert dict(tally.ends) == {2: 1}
