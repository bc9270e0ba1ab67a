"""What the driver will do, request by request: a pure function of the load and the request's number.

Owns the random choices. Does no I/O, reads no clock. Concurrency: frozen values.
"""

import random
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from loadtest.checker.history import Phase

Ratio = Annotated[float, Meta(ge=0, le=1)]
WORDS = ("river", "tensor", "Zürich", "水", "batch", "cache", "prefill", "🦊", "lease", "quota", "naïve", "token")


class Load(msgspec.Struct, frozen=True):
    """A bounded run against `target`, the URL of an OpenAI-compatible API (http only), as http://127.0.0.1:8340/v1."""

    target: str
    n: int
    """Requests."""
    concurrency: int = 16
    """Connections in use at once, each reused while its answers complete."""
    seed: int = 0
    cancel_ratio: Ratio = 0.0
    """Share of requests whose client leaves early."""
    stream_ratio: Ratio = 0.5
    """Share of streamed requests."""
    model: str = "llama"
    key: str = ""
    """Bearer token; empty: none is sent."""
    max_tokens: int = 16
    """Longest answer asked for; each request asks for 1 up to this."""
    prompt_words: int = 40
    """Longest prompt."""
    cancel_wait_s: float = 0.05
    """Longest wait, seconds, before a cancel ahead of the first event."""
    timeout_s: float = 30.0
    """Seconds a request may take; then its outcome is `timeout`."""
    deadline_s: float = 600.0
    """Seconds after which no request is started."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One request and when its client leaves (`phase` None: it stays)."""

    tag: str
    stream: bool
    body: bytes
    phase: Phase | None
    wait_s: float
    """Phases `waiting` and `buffered`: leave so long after sending, seconds."""
    events: int
    """Phases `waiting` and `streaming`: leave once so many events came."""
    close: Literal["fin", "rst"]


def draw(load: Load, number: int) -> Plan:
    """The plan of request `number`; the same for the same seed, whatever ran before."""
    rand = random.Random(f"{load.seed}:{number}")
    tag = f"{load.seed}-{number}-{rand.getrandbits(32):08x}"
    stream, cancelled = rand.random() < load.stream_ratio, rand.random() < load.cancel_ratio
    phase = _phase(stream, rand) if cancelled else None
    return Plan(
        tag=tag,
        stream=stream,
        body=_body(load, tag, stream, rand),
        phase=phase,
        wait_s=rand.uniform(0, load.cancel_wait_s),
        events=rand.randint(1, max(1, load.max_tokens // 2)) if phase == "streaming" else 1,
        close="rst" if rand.random() < 0.5 else "fin",
    )


def _phase(stream: bool, rand: random.Random) -> Phase:
    streamed: tuple[Phase, ...] = ("sent", "waiting", "streaming")
    return rand.choice(streamed if stream else ("sent", "buffered"))


def _body(load: Load, tag: str, stream: bool, rand: random.Random) -> bytes:
    prompt = " ".join(rand.choices(WORDS, k=rand.randint(1, load.prompt_words)))
    body: dict[str, object] = {
        "model": load.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": rand.randint(1, load.max_tokens),
        "stream": stream,
        "tag": tag,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}  # So that the gateway has no cause to change the body.
    return msgspec.json.encode(body)
