"""What chaos happens to: callers' proxy, gateway with two workers, a proxy and a model server per endpoint.

    driver -> proxy -> gateway (supervisor, 2 workers) -> proxy a -> model server a
                                                       -> proxy b -> model server b

Owns the processes, the proxies and the files of a run. Does not choose faults. Concurrency: one event loop, on which
the proxies run too.
"""

import asyncio
import signal
from pathlib import Path

from loadtest.faultd import FaultProxy
from loadtest.programs import Mock, Node, settings_text
from loadtest.rig.staged import Staged
from scheduler.clock import Clock

UPSTREAMS = ("a", "b")
WORKERS = 2
PACE = ("--ttft", "0.02", "--rate", "100", "--tokens", "64", "--keep", "1")
SETTINGS = (
    f"workers: {WORKERS}",
    # What is paused for a second must not time out; what hangs must end before the driver's patience does.
    "timeouts: {connect: 3, first_byte: 5, idle: 5, total: 10, pool_idle: 1}",
    # Half of the endpoints may be away for seconds: the default budget, one retry in ten requests, is not for that.
    "retries: {attempts: 2, budget_min: 1000000, backoff: 0.005, backoff_max: 0.05}",
)


class Leg:
    """One endpoint: a proxy, and behind it a model server that can die and come back on its port."""

    def __init__(self, name: str, folder: Path, clock: Clock) -> None:
        self.name = name
        self.logs: list[Path] = []
        self.proxy: FaultProxy
        self.port = 0
        self._folder = folder
        self._clock = clock
        self._mock: Mock

    async def start(self) -> None:
        await self._serve(0)
        self.proxy = FaultProxy(("127.0.0.1", self._mock.port), self._clock)
        self.port = await self.proxy.start()

    def send(self, number: signal.Signals) -> None:
        """Sends the model server a signal."""
        self._mock.send(number)

    async def end(self, number: signal.Signals) -> None:
        """Ends the model server by a signal."""
        await self._mock.stop(number)

    async def restart(self) -> None:
        """Starts it again on its port. Each life has a log of its own: a kill may leave half a line in the last one."""
        await self._serve(self._mock.port)

    async def close(self) -> None:
        await self._mock.stop()
        await self.proxy.close()

    async def _serve(self, port: int) -> None:
        self.logs.append(self._folder / f"mock-{self.name}-{len(self.logs)}.jsonl")
        self._mock = await Mock.serve(*PACE, port=port, log=self.logs[-1])


class Stage(Staged):
    """Everything started, in `folder`. `async with Stage(folder, door, clock) as stage`."""

    def __init__(self, folder: Path, door: str, clock: Clock) -> None:
        self.legs = [Leg(name, folder, clock) for name in UPSTREAMS]
        self.access = folder / "access.jsonl"
        self.front: FaultProxy
        self.node: Node
        self.port = 0
        self.generation = 0
        """Of the settings: the gateway serves the model `generation-N`."""
        self._door = door
        self._clock = clock
        self._settings = folder / "fastpath.yaml"
        super().__init__()

    @property
    def url(self) -> str:
        """Where callers connect."""
        return f"http://127.0.0.1:{self.port}/v1"

    def configure(self, generation: int, broken: str = "") -> None:
        """Writes the settings file and tells the gateway. `broken` is a line that no settings file may have."""
        self._write(generation, broken)
        self.node.send(signal.SIGHUP)
        self.generation = generation

    async def _start(self) -> None:
        for leg in self.legs:
            await leg.start()
            self._stack.push_async_callback(leg.close)
        self._write(0)
        self.node = await Node.serve(self._settings)
        self._stack.push_async_callback(self.node.stop)
        self.front = FaultProxy(("127.0.0.1", self.node.port), self._clock)
        self._stack.push_async_callback(self.front.close)
        self.port = await self.front.start()

    def _write(self, generation: int, broken: str = "") -> None:
        urls = [f"http://127.0.0.1:{leg.port}/v1" for leg in self.legs]
        log = f"log: {{access: {str(self.access)!r}}}"
        text = settings_text(self._door, urls, *SETTINGS, log, broken)
        model = f"  - name: generation-{generation}\n    endpoints: [{{url: {urls[0]!r}, tier: L1}}]\n"
        fresh = self._settings.with_suffix(".new")
        fresh.write_text(text + model)
        fresh.replace(self._settings)


async def fetch(port: int, path: str) -> bytes:
    """The whole answer to a GET, head included. Raises OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()
