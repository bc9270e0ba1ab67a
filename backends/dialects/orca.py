"""The load that a model server reports in a response header: ORCA's `endpoint-load-metrics`, as vLLM sends it.

    TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2.0
    JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 2.0}}

Sent where it is asked for (`ASK`). Nothing of it is trusted: it is short, or ignored; a number that cannot be is as if
it had not been said. Pure.
"""

from collections.abc import Iterable

import msgspec

FIELD = b"endpoint-load-metrics"
#: What asks a server for it.
ASK = b"endpoint-load-metrics-format: TEXT"
LONGEST = 2_048
MOST_METRICS = 64
MOST_TOKENS = 1e9
MOST_REQUESTS = 1e6
#: Prompt tokens of a request of which only the number is known: the mean of a chat.
USUAL_PROMPT = 1_024.0

QUEUED_TOKENS = frozenset({"num_waiting_uncached_tokens", "queued_tokens"})
WAITING = frozenset({"num_requests_waiting", "num_queue_reqs"})
RUNNING = frozenset({"num_requests_running", "num_running_reqs"})
KV_USAGE = frozenset({"kv_cache_usage_perc", "kv_cache_utilization", "token_usage"})
THROUGHPUT = frozenset({"prompt_throughput"})


class _Report(msgspec.Struct):
    named_metrics: dict[str, float]


_DECODER = msgspec.json.Decoder(_Report)


def read_report(value: bytes) -> tuple[float, float, float, float, float] | None:
    """Prompt tokens that wait, share of the KV cache in use (0 to 1), prompt tokens a second (0: not said), requests
    that run and that wait: the five numbers of the arena's sample. None where it does not say how much waits, which the
    others mean nothing without."""
    if len(value) > LONGEST:
        return None
    metrics = _parse(value)
    waiting = _number(metrics, WAITING, MOST_REQUESTS)
    queued = _number(metrics, QUEUED_TOKENS, MOST_TOKENS)
    if queued is None:
        if waiting is None:
            return None
        queued = waiting * USUAL_PROMPT
    # What it reads in a second is what it can read only while something is left to read.
    speed = (_number(metrics, THROUGHPUT, MOST_TOKENS) or 0.0) if queued else 0.0
    usage, running = _number(metrics, KV_USAGE, 1.0), _number(metrics, RUNNING, MOST_REQUESTS)
    return queued, usage or 0.0, speed, running or 0.0, waiting or 0.0


def _parse(value: bytes) -> dict[str, float]:
    kind, _, rest = value.partition(b" ")
    if kind.upper() == b"JSON":
        try:
            return _DECODER.decode(rest).named_metrics
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}
    return _pairs(rest.split(b",", MOST_METRICS - 1)) if kind.upper() == b"TEXT" else {}


def _pairs(pieces: Iterable[bytes]) -> dict[str, float]:
    found: dict[str, float] = {}
    for piece in pieces:
        name, _, number = piece.strip().partition(b"=")
        try:
            found[name.removeprefix(b"named_metrics.").decode("ascii")] = float(number)
        except ValueError:
            continue
    return found


def _number(metrics: dict[str, float], names: frozenset[str], most: float) -> float | None:
    """The first number by one of these names that can be."""
    for name, number in metrics.items():
        if name in names and 0.0 <= number <= most:
            return number
    return None
