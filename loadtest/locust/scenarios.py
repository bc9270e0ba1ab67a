"""The scenarios: which talks are held, how fast the model server is, and what the gateway may cost.

Owns the shapes and their limits. Does not run them. Concurrency: pure functions of the seconds and the random given.

Every rate is chosen so that the whole rig (two model servers, the load and the gateway) takes a fifth to a third of two
cores: past that, what is measured is the machine's queue.
"""

import itertools
import random
from collections.abc import Callable, Iterator

import msgspec

from loadtest.locust.talk import TOKEN_BYTES, Manner, Talk, Turn, text_of, text_of_blocks
from loadtest.locust.trace import Row, read_azure, read_mooncake

AZURE_SPEED = 8
Shape = Callable[[float, random.Random], list[Talk]]


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """What the way through the gateway may take longer than the direct one, seconds.

    The gateway's own share is under 1 ms. The limits are what two cores shared with a dozen other processes add to
    every way through one more process, and far below what a user notices in an answer.
    """

    ttft_p50: float = 0.005
    ttft_p95: float = 0.020
    gap_p95: float = 0.010


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A load and its objectives. `shape` makes the talks of so many seconds."""

    name: str
    title: str
    shape: Shape
    slo: Slo = Slo()
    ttft: float = 0.04
    """Of the model server, seconds."""
    rate: float = 100.0
    """Tokens a second of one answer of the model server."""
    tail: float = 1.5
    """Seconds that the last talk takes."""
    leavers: bool = False
    """Whether some callers leave early on purpose."""

    @property
    def mock_options(self) -> tuple[str, ...]:
        """Options of `fastpath mock`."""
        return ("--ttft", f"{self.ttft}", "--rate", f"{self.rate}", "--tokens", "1000", "--prefix-cache")


def azure(seconds: float, rand: random.Random) -> list[Talk]:
    """The Azure conversation trace, from a random place on, eight times as fast and an eighth as long in answers."""
    rows = read_azure()
    first = rand.randrange(len(rows) // 2)
    starts = ((row, (row.at - rows[first].at) / AZURE_SPEED) for row in rows[first:])
    return [
        Talk(at=at, turns=(_plain(f"azure {row.at}", row.input, max(2, row.output // 8)),))
        for row, at in starts
        if at < seconds
    ]


def _plain(seed: str, prompt: int, answer: int, manner: Manner = "read", leave_after: float = 0.0) -> Turn:
    return Turn(prompt=(text_of(seed, prompt),), tokens=answer, manner=manner, leave_after=leave_after)


def mooncake(seconds: float, rand: random.Random) -> list[Talk]:
    """Mooncake's conversations: each turn sends all that was said before, so that its prompt grows by blocks.

    Ten begin in every second, in random order; answers are an eighth as long, thinking takes 0.1 to 0.3 s.
    """
    talks = read_mooncake()
    rand.shuffle(talks)
    count = max(1, int(seconds * 10))
    return [Talk(at=number / 10, turns=tuple(_turns_of(talks[number % len(talks)], rand))) for number in range(count)]


def _turns_of(rows: list[Row], rand: random.Random) -> Iterator[Turn]:
    said: list[int] = []
    for row in rows:
        if said:
            answer = min(rows[len(said) // 2].output_length, row.input_length - sum(said) - 1)
            said.append(answer)
        said.append(row.input_length - sum(said))
        yield Turn(
            prompt=_cut(text_of_blocks(row.hash_ids, row.input_length), said),
            tokens=max(2, row.output_length // 8),
            think=rand.uniform(0.1, 0.3),
        )


def _cut(text: str, tokens: list[int]) -> tuple[str, ...]:
    """The text as messages of so many tokens each."""
    ends = [TOKEN_BYTES * end for end in itertools.accumulate(tokens)]
    return tuple(text[start:end] for start, end in itertools.pairwise([0, *ends]))


def bursts(seconds: float, rand: random.Random) -> list[Talk]:
    """Every second 32 callers within 20 ms, and nobody between."""
    return [
        Talk(at=second + rand.uniform(0, 0.02), turns=(_plain(f"burst {second} {number}", 300, 24),))
        for second in range(max(1, int(seconds)))
        for number in range(32)
    ]


def slow_readers(seconds: float, rand: random.Random) -> list[Talk]:
    """Steady traffic, and beside it one caller in five whose small window stays full: the others must not feel it."""
    steady = _steady(seconds, 40, rand, lambda number: _plain(f"steady {number}", 200, 24))
    slow = _steady(seconds, 10, rand, lambda number: _plain(f"slow {number}", 200, 60, "slow"))
    return [*steady, *slow]


def cancels(seconds: float, rand: random.Random) -> list[Talk]:
    """Steady traffic of which a third leaves: before the first event, or after one to eight."""

    def turn(number: int) -> Turn:
        draw = rand.random()
        if draw < 1 / 6:
            return _plain(f"cancel {number}", 200, 24, "leave_waiting", rand.uniform(0, 0.03))
        if draw < 1 / 3:
            return _plain(f"cancel {number}", 200, 24, "leave_streaming", rand.randint(1, 8))
        return _plain(f"cancel {number}", 200, 24)

    return _steady(seconds, 60, rand, turn)


def _steady(seconds: float, rate: float, rand: random.Random, turn: Callable[[int], Turn]) -> list[Talk]:
    """Talks of one turn with exponential gaps, `rate` in a second."""
    talks: list[Talk] = []
    at = 0.0
    while (at := at + rand.expovariate(rate)) < seconds:
        talks.append(Talk(at=at, turns=(turn(len(talks)),)))
    return talks


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="azure", title="Azure conversation trace", shape=azure),
        Scenario(name="mooncake", title="Mooncake conversations, growing prompts", shape=mooncake, tail=5.0),
        Scenario(
            name="bursts",
            title="32 callers at once, every second",
            shape=bursts,
            slo=Slo(ttft_p50=0.010, ttft_p95=0.040),
        ),
        Scenario(name="slow-readers", title="slow readers beside steady traffic", shape=slow_readers),
        Scenario(name="cancels", title="a third of the callers leaves", shape=cancels, leavers=True),
    )
}
