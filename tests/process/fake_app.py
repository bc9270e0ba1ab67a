"""The app of these tests: a tiny HTTP responder over the inherited socket, with the interface that a worker expects.

Paths: /pid and /models answer at once; /stream sends one chunk, then another when /release comes or the drain ends;
/short is a stream that ends by itself.
"""

import asyncio
import os
import signal
import socket
from typing import Any

from _native.jsonlines import JsonLines
from fastpath.observe.access_log import Records
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.lag import Tick
from fastpath.observe.metrics import Metrics
from fastpath.route.live import LiveEndpoint
from fastpath.settings import Settings
from fastpath.settings.problem import Problem, SettingsError
from scheduler.clock import Clock


class Record:
    """A line with one member."""

    def __init__(self, path: str) -> None:
        self._path = path

    def write_line(self, line: JsonLines) -> None:
        line.begin()
        line.text("path", self._path)
        line.end()


class FakeApp:
    def __init__(self, settings: Settings, metrics: Metrics, records: Records) -> None:
        self.ready = True
        self._metrics = metrics
        self._in_flight = metrics.lane("ai_inference_in_flight", ("llama",))
        self._records = records
        self._models = _models_of(settings)
        self._release = asyncio.Event()
        self._cut = asyncio.Event()
        self._open: dict[asyncio.Task[None], str] = {}
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listener)

    def reload(self, settings: Settings, published: object = None) -> None:
        if "refuse-second" in _models_of(settings):
            _refuse_unless_first()
        self._models = _models_of(settings)

    def note_condition(self, *, degraded: bool) -> None:
        pass

    async def drain(self, deadline: float) -> None:
        self.ready = False
        assert self._server is not None
        self._server.close()
        if self._open:
            await asyncio.wait(self._open, timeout=deadline)
        self._cut.set()
        if self._open:
            await asyncio.wait(self._open)

    async def close(self) -> None:
        assert not self._open

    def debug_requests(self) -> list[dict[str, Any]]:
        return [{"id": str(id(task)), "phase": path} for task, path in self._open.items()]

    def live(self) -> list[LiveEndpoint]:
        return [LiveEndpoint(self._models, "one", {"in_flight": float(len(self._open))}, {})]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = path
        self._in_flight.add(1)
        try:
            await self._answer(path, writer)
        finally:
            del self._open[task]
            self._in_flight.add(-1)
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        self._metrics.count("ai_inference_requests_total", (path, "unknown", "200"))
        self._records.put(Record(path))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        if path in ("/stream", "/short"):
            await self._stream(writer, 0.5 if path == "/short" else None)
        elif path == "/models":
            writer.write(self._models.encode())
        elif path == "/orphan":
            _leave_an_orphan()
        elif path == "/release":
            self._release.set()
        else:
            writer.write(str(os.getpid()).encode())
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, seconds: float | None) -> None:
        writer.write(b"first ")
        events = [asyncio.create_task(event.wait()) for event in (self._release, self._cut)]
        await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        writer.write(f"{'cut' if self._cut.is_set() else 'last'} {self._models}".encode())
        for event in events:
            event.cancel()


def _models_of(settings: Settings) -> str:
    names = [model.name for model in settings.models]
    if "refuse" in names:
        raise SettingsError([Problem(0, 0, "models", "the app refuses it")], "settings")
    return ",".join(names)


def _refuse_unless_first() -> None:
    """The first worker of a node takes the settings; one that has been running beside it does not."""
    try:
        os.close(os.open(os.environ["FASTPATH_DEBUG_MARK"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise SettingsError([Problem(0, 0, "models", "this worker alone refuses it")], "settings") from None


def _leave_an_orphan() -> None:
    """Makes a process whose parent is gone, which its new parent must reap."""
    if os.fork() == 0:
        if os.fork() != 0:
            os._exit(0)
        os._exit(0)
    os.wait()


def build(
    settings: Settings, metrics: Metrics, records: Records, budget: MemoryBudget, tick: Tick, clock: Clock
) -> FakeApp:
    return FakeApp(settings, metrics, records)


def crash(*given: object) -> FakeApp:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
