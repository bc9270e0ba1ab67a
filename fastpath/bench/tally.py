"""What became of each request, and the sums that grow while a run goes on.

Owns the turning of an answer into its times. A failed request has no times: it is counted by its error and nowhere
else. Single loop.
"""

from array import array
from collections import Counter, defaultdict

import msgspec

from fastpath.bench.answer import Answer
from fastpath.bench.figures import Histogram
from fastpath.bench.load import Job


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request that ended. Times in s; `due` and `sent` from the start of the run, the others from `sent`."""

    number: int
    due: float
    sent: float
    input_tokens: int
    output_tokens: int = 0
    pieces: int = 0
    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None
    reported: bool = True
    """Whether the server told the number of output tokens; else its pieces are counted."""
    error: str | None = None

    @property
    def wait(self) -> float:
        """How long the request stood in the generator before it was sent, s."""
        return self.sent - self.due


class Tally:
    """Everything a run found out so far."""

    def __init__(self, origin: float) -> None:
        self.origin = origin
        self.outcomes: list[Outcome] = []
        self.gaps = Histogram()
        self.tokens: defaultdict[int, float] = defaultdict(float)  # second of the run -> output tokens that came in it
        self.ends: Counter[int] = Counter()  # second -> answers that ended well
        self.failures: Counter[int] = Counter()  # second -> requests that failed
        self.errors: Counter[str] = Counter()
        self.examples: dict[str, str] = {}  # error -> what the first one of them said
        self.schedule_lag = array("d")
        self.loop_lag = array("d")
        self.sent = 0
        self.in_flight = 0
        self.peak = 0

    @property
    def completed(self) -> int:
        return len(self.outcomes) - self.errors.total()

    def on_sent(self) -> None:
        """A request goes out."""
        self.sent += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def on_end(self, job: Job, due: float, sent: float, answer: Answer) -> None:
        """An answer ended. due, sent: monotonic s."""
        self.in_flight -= 1
        second = int(answer.ended_at - self.origin)
        if answer.error is None:
            self._count_answer(answer, second)
        else:
            self.failures[second] += 1
            self.errors[answer.error] += 1
            self.examples.setdefault(answer.error, answer.detail)
        self.outcomes.append(outcome_of(job, due - self.origin, sent - self.origin, sent, answer))

    def _count_answer(self, answer: Answer, second: int) -> None:
        self.ends[second] += 1
        for gap in answer.gaps:
            self.gaps.add(gap)
        tokens = answer.output_tokens or answer.pieces
        for when, pieces in answer.seconds.items():
            self.tokens[when] += tokens * pieces / answer.pieces


def outcome_of(job: Job, due: float, sent_after: float, sent: float, answer: Answer) -> Outcome:
    """The figures of one answer; `sent` is monotonic, `due` and `sent_after` count from the start of the run."""
    usage = answer.usage
    prompt = usage.prompt_tokens if usage is not None else None
    asked = Outcome(job.number, due, sent_after, prompt if prompt else job.input_tokens, error=answer.error)
    if answer.error is not None:
        return asked
    reported = answer.output_tokens
    tokens = reported or answer.pieces
    return msgspec.structs.replace(
        asked,
        output_tokens=tokens,
        pieces=answer.pieces,
        ttft=answer.first_at - sent,
        tpot=(answer.last_at - answer.first_at) / (tokens - 1) if tokens > 1 and answer.pieces > 1 else None,
        e2e=answer.ended_at - sent,
        reported=reported is not None,
    )
