"""From readings to samples: what is in the arena about an endpoint's load. Pure; time is passed in.

A sample is five numbers: prompt tokens that wait, share of the KV cache in use, prompt tokens a second (0: not known),
requests running, requests waiting. Counters become rates between two readings of one life of the engine: one that went
down means that the engine was started again, and then nothing is compared.
"""

from typing import Final

from backends.watch.plan import COLD
from backends.watch.reading import Reading

#: Prompt tokens of a request where the engine's counters do not say (the mean of a chat).
USUAL_PROMPT: Final = 1024.0
MOST_PROMPT: Final = 1e8
MOST_REQUESTS: Final = 1e9
MOST_TOKENS: Final = 1e12
MOST_SPEED: Final = 1e9

Values = tuple[float, float, float, float, float]


class Trend:
    """Of one endpoint. throughput: prompt tokens a second, as configured."""

    def __init__(self, throughput: float) -> None:
        self._configured = throughput
        self._last: tuple[float, Reading] | None = None
        self._speed = 0.0
        self._prompt = 0.0  # mean length, of the latest requests that ended

    def sample(self, reading: Reading, now: float) -> Values:
        """The sample of a reading made at `now`, in seconds."""
        if self._last is not None:
            self._compare(self._last[1], reading, now - self._last[0])
        elif reading.prompt_tokens and reading.requests:
            self._prompt = min(reading.prompt_tokens / reading.requests, MOST_PROMPT)
        self._last = now, reading
        waiting, running = min(reading.waiting or 0.0, MOST_REQUESTS), min(reading.running or 0.0, MOST_REQUESTS)
        tokens = waiting * (self._prompt or USUAL_PROMPT)
        if reading.cold:
            tokens += COLD * self._configured
        return min(tokens, MOST_TOKENS), min(reading.kv_usage or 0.0, 1.0), self._speed, running, waiting

    def forget(self) -> None:
        """Nothing was heard meanwhile: the next reading begins anew."""
        self._last = None

    def _compare(self, before: Reading, after: Reading, seconds: float) -> None:
        if _started_anew(before, after):
            self._speed = self._prompt = 0.0
            return
        tokens = _risen(before.prompt_tokens, after.prompt_tokens)
        requests = _risen(before.requests, after.requests)
        if tokens and requests:
            self._prompt = min(tokens / requests, MOST_PROMPT)
        spent = _risen(before.prompt_seconds, after.prompt_seconds)
        if before.prompt_seconds is None and before.waiting and after.waiting:
            spent = seconds  # only an engine that always had work waiting shows what it can do
        if tokens and spent and spent > 0:
            self._speed = min(tokens / spent, MOST_SPEED)


def is_busy(values: Values) -> bool:
    """Whether it has anything to do."""
    return values[3] > 0 or values[4] > 0


def _risen(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _started_anew(before: Reading, after: Reading) -> bool:
    pairs = (
        (before.prompt_tokens, after.prompt_tokens),
        (before.requests, after.requests),
        (before.prompt_seconds, after.prompt_seconds),
    )
    return any((risen := _risen(*pair)) is not None and risen < 0 for pair in pairs)
