"""The Locust users: callers of the two ways to the model server, who hold talks from one docket each.

Owns the Locust side of a talk. Does not open connections (`line`). Concurrency: greenlets; import it only in a process
that Locust has patched.
"""

import time
from collections.abc import Iterator, Sequence

import gevent  # type: ignore[import-untyped]  # it ships none
from locust import User, task
from locust.exception import StopUser

from loadtest.locust.line import Heard, Line, Side
from loadtest.locust.talk import Talk, body


class Docket:
    """The talks to be held on one way, in the order of their beginning; bodies are made before the clock starts."""

    def __init__(self, side: Side, address: tuple[str, int], talks: Sequence[Talk], delay: float) -> None:
        self.side: Side = side
        self.address = address
        self.delay = delay
        """Seconds by which every talk is put off, so that the two ways are never loaded in the same instant."""
        self.start = 0.0
        """Monotonic seconds; set when all callers wait."""
        ordered = sorted(talks, key=lambda talk: talk.at)
        self.turns = sum(len(talk.turns) for talk in ordered)
        self._next: Iterator[tuple[Talk, list[tuple[str, bytes]]]] = iter(
            [(talk, _bodies(f"{side}-{number}", talk)) for number, talk in enumerate(ordered)]
        )

    def take(self) -> tuple[Talk, list[tuple[str, bytes]]] | None:
        """The next talk with the tag and the body of each of its turns; None when all are taken."""
        return next(self._next, None)


def _bodies(name: str, talk: Talk) -> list[tuple[str, bytes]]:
    tags = [f"{name}-{number}" for number in range(len(talk.turns))]
    return [(tag, body(turn, tag)) for tag, turn in zip(tags, talk.turns, strict=True)]


class Caller(User):
    """Takes talks from its docket until there are no more."""

    abstract = True
    docket: Docket

    def on_start(self) -> None:
        self._line = Line(self.docket.side, self.docket.address)

    def on_stop(self) -> None:
        self._line.close()

    @task
    def hold_talk(self) -> None:
        taken = self.docket.take()
        if taken is None:
            raise StopUser
        talk, bodies = taken
        due = self.docket.start + self.docket.delay + talk.at
        for turn, (tag, data) in zip(talk.turns, bodies, strict=True):
            due += turn.think
            gevent.sleep(max(0.0, due - time.monotonic()))
            self._report(self._line.ask(turn, data, tag, time.monotonic() - due))
            due = time.monotonic()

    def _report(self, heard: Heard) -> None:
        failed = RuntimeError(heard.reason) if heard.outcome == "error" else None
        self.environment.events.request.fire(
            request_type=heard.side,
            name=heard.manner,
            response_time=(heard.ttft or 0.0) * 1e3,
            response_length=0,
            exception=failed,
            context={"heard": heard},
        )


def callers(docket: Docket, count: int) -> type[Caller]:
    """The class of `count` users that share a docket."""
    name = f"{docket.side.title()}Caller"
    return type(name, (Caller,), {"docket": docket, "fixed_count": count, "abstract": False})
