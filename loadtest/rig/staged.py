"""What a run is played on: programs that are started together and ended in the opposite order, whatever happens."""

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Self


class Staged(ABC):
    """An async context manager. Subclasses start everything in `_start`, and push what ends it onto `_stack`."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @abstractmethod
    async def _start(self) -> None: ...
