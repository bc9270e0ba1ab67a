"""The identity provider on a loop of its own, for tests that wait for processes and not for events."""

import asyncio
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from tests.idp.server import IdentityProvider

PATIENCE = 30.0


class ThreadedProvider:
    """Use as a context manager. `idp` makes tokens in any thread; its moods are read by the other one."""

    def __init__(self) -> None:
        self.idp = IdentityProvider(time.time)
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stop is not None
        self._ready.result(PATIENCE).call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with self.idp:
            self._ready.set_result(asyncio.get_running_loop())
            await self._stop.wait()
