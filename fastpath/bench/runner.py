"""Sends a load on time and waits for its answers.

Owns the timing: an open loop sends when a request is due, whatever the answers do; a closed one sends when a client is
free. Does not read answers. The next body is made before it is due, so that making it delays nothing. Single loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from _native.relay import Sink, Source
from fastpath.bench.answer import Answer
from fastpath.bench.load import Job, Load, Mode
from fastpath.bench.tally import Tally
from scheduler.clock import Clock

Post = Callable[[bytes, Sink], Source]  # sends one body; its answer goes into the sink; never raises
Write = Callable[[Job], bytes]  # makes the body of one job


class Runner:
    """One run. `run` returns when every request has ended; `stop` gives up those that have not."""

    def __init__(
        self, load: Load, mode: Mode, jobs: Iterator[Job], write: Write, post: Post, tally: Tally, clock: Clock
    ) -> None:
        self._load = load
        self._mode = mode
        self._jobs = jobs
        self._write = write
        self._post = post
        self._tally = tally
        self._clock = clock
        self._most = load.concurrency
        self._next: tuple[Job, bytes] | None = None
        self._waiting: deque[tuple[Job, bytes, float]] = deque()  # due, but as many as allowed are in flight
        self._sources: dict[Answer, Source] = {}
        self._timer: asyncio.Handle | None = None
        self._over = asyncio.Event()
        self.interrupted = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Sends everything and waits for it. The tally's origin is the start."""
        self._prepare()
        if self._mode == "closed":
            for _ in range(self._load.clients):
                self._send_another()
        else:
            self._arm()
        self._check_over()
        await self._over.wait()

    def stop(self) -> None:
        """Sends no more and drops what is under way; `run` returns."""
        self.interrupted = not self._over.is_set()
        if self._timer is not None:
            self._timer.cancel()
        for source in self._sources.values():
            source.cancel()
        self._sources.clear()
        self._next = None
        self._over.set()

    # -- open loop

    def _arm(self) -> None:
        if self._next is None:
            return
        delay = self._due(self._next[0]) - self._clock.monotonic()
        self._timer = self._loop.call_later(delay, self._arrive) if delay > 0 else self._loop.call_soon(self._arrive)

    def _due(self, job: Job) -> float:
        return self._tally.origin + (job.due or 0.0)

    def _arrive(self) -> None:
        assert self._next is not None
        job, body = self._next
        now = self._clock.monotonic()
        due = min(self._due(job), now)  # timers are good to 1 ms and may wake a little early
        self._tally.schedule_lag.append(now - due)
        self._waiting.append((job, body, due))
        self._send_waiting()
        self._prepare()
        self._arm()

    def _send_waiting(self) -> None:
        while self._waiting and (self._most is None or self._tally.in_flight < self._most):
            self._send(*self._waiting.popleft())

    # -- closed loop

    def _send_another(self) -> None:
        """A client is free."""
        if self._next is None:
            return
        now = self._clock.monotonic()
        if self._load.duration is not None and now - self._tally.origin >= self._load.duration:
            self._next = None
            return
        job, body = self._next
        self._send(job, body, now)
        self._prepare()

    # -- both

    def _prepare(self) -> None:
        job = next(self._jobs, None)
        self._next = None if job is None else (job, self._write(job))

    def _send(self, job: Job, body: bytes, due: float) -> None:
        self._tally.on_sent()
        sent = self._clock.monotonic()
        answer = Answer(self._clock, self._tally.origin, lambda ended: self._on_end(job, due, sent, ended))
        self._sources[answer] = self._post(body, answer)

    def _on_end(self, job: Job, due: float, sent: float, answer: Answer) -> None:
        self._tally.on_end(job, due, sent, answer)
        self._loop.call_soon(self._on_free, answer)

    def _on_free(self, answer: Answer) -> None:
        """Later than the end itself: by then its connection is back in the pool."""
        if self._sources.pop(answer, None) is None:
            return  # stopped meanwhile
        if self._mode == "closed":
            self._send_another()
        self._send_waiting()
        self._check_over()

    def _check_over(self) -> None:
        if self._next is None and not self._waiting and not self._sources:
            self._over.set()
