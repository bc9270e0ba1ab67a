"""Questions of one kind, each asked once however many endpoints want the answer.

Owns which endpoints share a question, the tasks, and the spread of the first questions. Does not own what is asked nor
what an answer means. Single loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from backends.watch.plan import Name, Watched

FIRST_PER_SECOND: Final = 500.0
HEAL_AFTER: Final = 1.0  # seconds before a question is asked again whose task ended by a bug


class Asker(Protocol):
    """Asks one question for several endpoints: a prober or a poller."""

    @property
    def idle(self) -> bool:
        """Whether nobody wants to know any more."""
        ...

    def add(self, watched: Watched) -> None:
        """Tells of one more endpoint from now on."""
        ...

    def drop(self, name: Name, *, for_good: bool) -> None:
        """Tells of that endpoint no more; for_good: what was said of it is taken back."""
        ...

    async def run(self, after: float) -> None:
        """For ever, from so many seconds on."""
        ...


A = TypeVar("A", bound=Asker)


class Questions(Generic[A]):
    """All of one kind. question_of: what is to be asked about an endpoint, equal where one answer does for two; None:
    nothing. make: an asker that goes to the server of an endpoint."""

    def __init__(self, question_of: Callable[[Watched], Watched | None], make: Callable[[Watched], A]) -> None:
        self._question_of = question_of
        self._make = make
        self._wanted: dict[Name, Watched] = {}
        self._askers: dict[Watched, A] = {}
        self._tasks: dict[A, asyncio.Task[None]] = {}

    async def use(self, plan: dict[Name, Watched]) -> None:
        """Asks about exactly these from now on. A question that somebody wants before and after goes on."""
        wanted = {name: question for name, one in plan.items() if (question := self._question_of(one)) is not None}
        changed = [name for name, question in self._wanted.items() if wanted.get(name) != question]
        for name in changed:
            self._askers[self._wanted.pop(name)].drop(name, for_good=name not in plan)
        old = len(self._askers)
        for name, question in wanted.items():
            if name not in self._wanted:
                self._wanted[name] = question
                turn = (len(self._askers) - old) / FIRST_PER_SECOND
                self._asker(question, plan[name], turn).add(plan[name])
        await self._stop([question for question, asker in self._askers.items() if asker.idle])

    def find(self, name: Name) -> A | None:
        """Who asks about that endpoint."""
        question = self._wanted.get(name)
        return self._askers[question] if question is not None else None

    def heal(self, plan: dict[Name, Watched], report: Callable[[BaseException], None]) -> None:
        """Asks anew what is not asked any more because of a bug, and tells of it."""
        for question, error in list(self._failures()):
            report(error)
            del self._tasks[self._askers.pop(question)]
            for name, wanted in self._wanted.items():
                if wanted == question:
                    self._asker(question, plan[name], HEAL_AFTER).add(plan[name])

    async def close(self) -> None:
        """Asks nobody any more. What is known stays, and grows old."""
        await self._stop(list(self._askers))
        self._wanted.clear()

    def _asker(self, question: Watched, watched: Watched, after: float) -> A:
        """Who asks this; somebody new goes to the server of `watched`, so many seconds later."""
        if (found := self._askers.get(question)) is not None:
            return found
        asker = self._askers[question] = self._make(watched)
        self._tasks[asker] = asyncio.get_running_loop().create_task(asker.run(after))
        return asker

    async def _stop(self, questions: list[Watched]) -> None:
        tasks = [self._tasks.pop(self._askers.pop(question)) for question in questions]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _failures(self) -> Iterator[tuple[Watched, BaseException]]:
        for question, asker in self._askers.items():
            task = self._tasks[asker]
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                yield question, error
