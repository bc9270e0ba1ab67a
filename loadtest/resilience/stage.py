"""A gateway with two workers before three equal model servers, each a process that can be killed, stopped and slowed.

Owns the processes. Does not choose faults and does not load. Concurrency: one event loop.
"""

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.programs import Mock, Node, settings_text
from loadtest.rig.staged import Staged

SERVERS = 3
#: Of an answer: seconds to its first token, and its tokens, which follow at once.
TTFT, TOKENS = 0.05, 8
SETTINGS = (
    "workers: 2",
    # What hangs is given up after this long; the default waits two minutes for a long prefill.
    "timeouts: {connect: 1, first_byte: 2, idle: 2, total: 20}",
)


class Server:
    """One model server, on a port of its own for as long as the stage stands."""

    def __init__(self) -> None:
        self._mock: Mock
        self._port = 0

    @property
    def url(self) -> str:
        return self._mock.url

    @property
    def program(self) -> Mock:
        return self._mock

    async def start(self) -> None:
        """Starts it, again on the port that it had."""
        pace = ("--ttft", str(TTFT), "--rate", "0", "--tokens", str(TOKENS), "--keep", "1")
        self._mock = await Mock.serve(*pace, port=self._port)
        self._port = self._mock.port

    async def close(self) -> None:
        await self._mock.stop()

    async def script(self, *faults: dict[str, Any]) -> None:
        """How it answers from now on; without faults, well."""
        body = json.dumps({"faults": faults, "times": None}).encode()
        await asyncio.to_thread(_post, self.url.removesuffix("/v1") + "/mock/script", body)


def _post(url: str, body: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
        answer.read()


class Stage(Staged):
    """Everything started, in `folder`. `async with Stage(folder, door) as stage`."""

    def __init__(self, folder: Path, door: str, settings: Sequence[str] = SETTINGS) -> None:
        self.servers = [Server() for _ in range(SERVERS)]
        self.access = folder / "access.jsonl"
        self.node: Node
        self._door = door
        self._folder = folder
        self._more = settings
        super().__init__()

    async def _start(self) -> None:
        for server in self.servers:
            await server.start()
            self._stack.push_async_callback(server.close)
        log = f"log: {{access: {str(self.access)!r}}}"
        path = self._folder / "fastpath.yaml"
        path.write_text(settings_text(self._door, [server.url for server in self.servers], *self._more, log))
        self.node = await Node.serve(path)
        self._stack.push_async_callback(self.node.stop)
