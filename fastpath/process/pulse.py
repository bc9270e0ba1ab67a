"""Feels the control process's pulse: one that lives and answers nothing is as good as gone, and must not stay so.

Owns: a question a second, how many may be missed, when the process is killed for it, and the last answer, which the
metrics of the node show. Does not: start it again (`control` does, with back-off) or judge one that does not serve yet.
Concurrency: the supervisor's loop. While the supervisor itself stood still nobody is blamed.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from fastpath.liaison import Asked, PulseAsked, Told, Vitals
from fastpath.observe.metrics import Labels, Metrics
from fastpath.process.liaison import NoAnswer
from scheduler.clock import Clock

Readings = dict[Labels, float]


class Patience(msgspec.Struct, frozen=True):
    """Seconds, but for `misses`: so many questions without an answer, one after the other, are said."""

    every: float = 1.0
    within: float = 1.0
    misses: int = 5
    kill_after: float = 30.0


class Patient(Protocol):
    """The control process: `fastpath.process.control.ControlChild`."""

    @property
    def url(self) -> str:
        """Where it serves; "" while it does not."""
        ...

    def kill_hung(self) -> None:
        """Ends it at once, because it hangs."""
        ...


class Asks(Protocol):
    """`fastpath.process.liaison.Liaison`."""

    async def ask(self, question: Asked, within: float) -> Told: ...


class Pulse:
    """Of one control process and those that take its place. `say` prints a line for the operator."""

    def __init__(
        self, child: Patient, asks: Asks, clock: Clock, say: Callable[[str], None], patience: Patience | None = None
    ) -> None:
        self._child = child
        self._asks = asks
        self._clock = clock
        self._say = say
        self._patience = patience or Patience()
        self._url = ""
        self._missed = 0
        self._answered = 0.0  # when it last did, or began to serve
        self._answers = False  # it has, since it serves
        self._killed = False
        self.vitals: Vitals | None = None

    @property
    def problem(self) -> str:
        """What is wrong now; "" when all is well."""
        if self._missed < self._patience.misses:
            return ""
        return f"the control process has not answered for {self._clock.monotonic() - self._answered:.0f} s"

    async def watch(self) -> None:
        """For ever."""
        while True:
            began = self._clock.monotonic()
            await self.look()
            await asyncio.sleep(max(0.0, self._patience.every - (self._clock.monotonic() - began)))

    async def look(self) -> None:
        """Asks once, and acts on what came of it."""
        began = self._clock.monotonic()
        if self._child.url != self._url or not self._url:
            self._begin(began)
            if not self._url:
                return
        asked = self._url
        try:
            told = await self._asks.ask(PulseAsked(), self._patience.within)
        except NoAnswer:
            told = None
        if self._child.url != asked:
            return  # it died meanwhile: that is another story
        asleep = self._clock.monotonic() - began - 2 * self._patience.within
        if asleep > 0:
            self._answered += asleep  # while we ourselves stood still nobody could answer us
        self._note(told)

    def _begin(self, now: float) -> None:
        self._url, self._missed, self._answered = self._child.url, 0, now
        self._answers = self._killed = False

    def _note(self, told: Told | None) -> None:
        now = self._clock.monotonic()
        if isinstance(told, Vitals):
            if self.problem:
                self._say(f"the control process answers again after {now - self._answered:.1f} s")
            self._missed, self._answered, self._answers, self.vitals = 0, now, True, told
            self._killed = False  # another one, if one was: it may have come between two looks
            return
        self._missed += 1
        if self._missed == self._patience.misses:
            self._say(f"{self.problem}: nothing is settled or published meanwhile, traffic goes on")
        late = now - self._answered >= self._patience.kill_after
        if late and self._missed >= self._patience.misses and not self._killed:
            self._killed = True
            self._say(f"{self.problem}: killed")
            self._child.kill_hung()

    def publish(self, metrics: Metrics) -> None:
        """Shows the last answer on the node's page of metrics."""
        metrics.read("fastpath_control_up", lambda: {(): float(self._is_up)})
        for name, pick in _SHOWN.items():
            metrics.read(name, partial(self._shown, pick, name.endswith("_total")))

    @property
    def _is_up(self) -> bool:
        return self._answers and bool(self._child.url) and not self.problem

    def _shown(self, pick: Callable[[Vitals], Readings], counts: bool) -> Readings:
        """A gauge while it is known. A count stays as it was: one that falls to 0 and rises would be new events."""
        return pick(self.vitals) if self.vitals is not None and (counts or self._is_up) else {}


def _one(value: float) -> Readings:
    return {(): value}


def _by(counts: dict[str, int]) -> Readings:
    return {(name,): float(count) for name, count in counts.items()}


def _money(nano: dict[str, int]) -> Readings:
    return {(currency,): amount / 1e9 for currency, amount in nano.items()}


_SHOWN: Final[dict[str, Callable[[Vitals], Readings]]] = {
    "fastpath_outbox_bytes": lambda vitals: _one(vitals.outbox_bytes),
    "fastpath_outbox_backlog_bytes": lambda vitals: _one(vitals.backlog_bytes),
    "fastpath_outbox_backlog_records": lambda vitals: _one(vitals.backlog_records),
    "fastpath_settlement_lag_seconds": lambda vitals: _one(vitals.lag_seconds),
    "fastpath_settlement_records_total": lambda vitals: _one(vitals.records),
    "fastpath_settlement_failures_total": lambda vitals: _one(vitals.failures),
    "fastpath_settlement_lost_total": lambda vitals: _one(vitals.lost),
    "fastpath_settlement_lost_bound": lambda vitals: _money(vitals.lost_bound),
    "fastpath_settlement_lost_unbounded": lambda vitals: _one(vitals.lost_unbounded),
    "fastpath_settlement_quarantined_total": lambda vitals: _one(vitals.quarantined),
    "fastpath_ledger_transactions_total": lambda vitals: _one(vitals.transactions),
    "fastpath_publication_version": lambda vitals: _one(vitals.publication),
    "fastpath_database_errors_total": lambda vitals: _by(vitals.database_errors),
    "fastpath_alerts_total": lambda vitals: _one(vitals.alerts),
    "fastpath_alert_deliveries_total": lambda vitals: _by(vitals.deliveries),
    "fastpath_alert_deliveries_waiting": lambda vitals: _one(vitals.deliveries_waiting),
}
