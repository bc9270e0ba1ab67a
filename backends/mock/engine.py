"""What all connections of one mock server share: slots, prefix cache, script, records, counters.

Concurrency: one loop; every method is synchronous.
"""

from collections.abc import Iterable
from typing import IO

import msgspec

from backends.mock.draft import Context
from backends.mock.fault import NO_FAULT, Fault, Script, ScriptRun
from backends.mock.options import MockOptions
from backends.mock.prefix import BLOCK_TOKENS, PrefixCache
from backends.mock.record import Record, RecordBook
from backends.mock.slots import Slots
from scheduler.clock import Clock


class Totals(msgspec.Struct):
    """Counters since the start or the last reset."""

    requests: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0


class Engine:
    """The pretended engine behind the sockets."""

    def __init__(self, options: MockOptions, clock: Clock, log: IO[bytes] | None) -> None:
        self.options = options
        self.clock = clock
        self.slots = Slots(options.slots)
        self.book = RecordBook(options.keep, log)
        self.live: dict[int, Record] = {}
        self.frozen = b""  # the page of metrics that a fault keeps showing
        self._number = 0
        self._connections = 0
        self._started = int(clock.now())
        self.reset()

    def reset(self) -> None:
        """Forgets script, records, cache and counters; running requests go on. Ids keep counting."""
        self.cache = PrefixCache(self.options.cache_blocks)
        self.book.clear()
        self.totals = Totals()
        self.frozen = b""
        self._script = ScriptRun(Script())

    def set_script(self, script: Script) -> None:
        """Replaces the faults of coming requests."""
        self.frozen = b""
        self._script = ScriptRun(script)

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The scripted fault of this request, counted as used."""
        return self._script.take(method, path)

    def take_accept(self) -> Fault | None:
        """The scripted fault of a new connection, counted as used."""
        return self._script.take_accept()

    def next_connection(self) -> int:
        """Number of a new connection, from 1."""
        self._connections += 1
        return self._connections

    def open_record(self, connection: int, method: str, path: str) -> Record:
        """Record of a request that has just begun; `close_record` ends it."""
        self._number += 1
        clock = self.clock
        record = Record(id=self._number, connection=connection, method=method, path=path)
        record.at, record.started = clock.now(), clock.monotonic()
        self.live[record.id] = record
        return record

    def close_record(self, record: Record) -> None:
        """Stores a finished record and adds it to the totals."""
        record.ended = self.clock.monotonic()
        del self.live[record.id]
        self.totals.requests += 1
        self.totals.prompt_tokens += record.prompt_tokens
        self.totals.generated_tokens += record.tokens
        self.book.add(record)

    def context(self, record: Record, fault: Fault | None) -> Context:
        """What planning an answer needs to know."""
        return Context(self.options, fault or NO_FAULT, record.id, int(self.clock.now()))

    def admit_prompt(self, prompt: bytes) -> int:
        """Cached tokens of a prompt that starts to run now."""
        return self.cache.admit(prompt) if self.options.prefix_cache else 0

    def price(self, record: Record) -> int:
        """Nano-units for the tokens in `record`."""
        options = self.options
        cached_price = options.input_price if options.cached_price is None else options.cached_price
        fresh = record.prompt_tokens - record.cached_tokens
        prompt = fresh * options.input_price + record.cached_tokens * cached_price
        return prompt + record.tokens * options.output_price

    @property
    def kv_usage(self) -> float:
        """Share of the pretended KV memory that running requests hold, 0 to 1."""
        held = sum(record.prompt_tokens + record.tokens for record in self.live.values())
        return min(1.0, held / max(1, self.options.cache_blocks * BLOCK_TOKENS))

    def load_report(self) -> str:
        """The value of `endpoint-load-metrics`, as vLLM writes it for who asks."""
        return (
            f"TEXT named_metrics.kv_cache_usage_perc={self.kv_usage:.6f}, "
            f"named_metrics.num_requests_waiting={float(self.slots.waiting)}"
        )

    @property
    def started(self) -> int:
        """Unix time of the start."""
        return self._started

    def model_list(self) -> list[dict[str, object]]:
        """Models in the shape of GET /v1/models."""
        return [_model(name, self._started) for name in self.options.models]


def _model(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "mock"}


def make_script(faults: Iterable[Fault], times: int | None, path: str | None) -> Script:
    """A script from its parts."""
    return Script(faults=tuple(faults), times=times, path=path)
