"""The proxy's control socket: one JSON line in, one JSON line out, as often as the caller likes.

Owns the protocol and its server. Does not own the proxy. Concurrency: one event loop; commands act at once, in order.

    {"do":"set_rules","rules":[{"fault":"latency","mean_ms":50,"jitter_ms":10}],"seed":7}
    {"do":"drop","how":"rst"}
    {"do":"status"}
"""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from loadtest.faultd.proxy import FaultProxy
from loadtest.faultd.rules import AnyRule, How

LINE_BYTES = 1 << 20


class SetRules(msgspec.Struct, tag_field="do", tag="set_rules", forbid_unknown_fields=True):
    """Replaces every rule; connections are counted, and the random is seeded, anew."""

    rules: Sequence[AnyRule]
    seed: int = 0


class Drop(msgspec.Struct, tag_field="do", tag="drop", forbid_unknown_fields=True):
    """Ends (fin, rst) or freezes (stall) every connection that is open now."""

    how: How


class Status(msgspec.Struct, tag_field="do", tag="status", forbid_unknown_fields=True):
    """Asks for the counts only."""


Command = SetRules | Drop | Status


class Answer(msgspec.Struct, omit_defaults=True):
    """`ok` false: `error` says why and nothing was changed. Counts are of connections; `dropped` by this command."""

    ok: bool
    open: int = 0
    total: int = 0
    dropped: int = 0
    error: str = ""


class Control:
    """Serves the protocol on a Unix path (text) or a loopback port (number, 0: a free one)."""

    def __init__(self, proxy: FaultProxy, address: str | int) -> None:
        self._proxy = proxy
        self._address = address
        self._decoder = msgspec.json.Decoder(Command)
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()

    async def start(self) -> str | int:
        """Listens; returns the path or the port. Raises OSError when it is taken."""
        if isinstance(self._address, str):
            self._server = await asyncio.start_unix_server(self._serve, self._address, limit=LINE_BYTES)
            return self._address
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._address, limit=LINE_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stops serving and hangs up on callers."""
        if self._server is not None:
            self._server.close()
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._callers.add(task)
        try:
            await self._answer_all(reader, writer)
        except asyncio.CancelledError:
            pass  # `close` hangs up; the stream's own callback would report the cancellation as an error.
        finally:
            self._callers.discard(task)
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(msgspec.json.encode(self._answer(line)) + b"\n")
                await writer.drain()

    def _answer(self, line: bytes) -> Answer:
        try:
            command = self._decoder.decode(line)
        except msgspec.DecodeError as error:
            return Answer(ok=False, error=str(error))
        dropped = self._carry_out(command)
        return Answer(ok=True, open=self._proxy.open, total=len(self._proxy.connections), dropped=dropped)

    def _carry_out(self, command: Command) -> int:
        if isinstance(command, SetRules):
            self._proxy.set_rules(command.rules, command.seed)
        elif isinstance(command, Drop):
            return self._proxy.drop(command.how)
        return 0


async def ask(address: str | int, command: Command) -> Answer:
    """Sends one command to a proxy's control socket. Raises OSError when nobody listens, ValueError when refused."""
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", address)
    try:
        writer.write(msgspec.json.encode(command) + b"\n")
        answer = msgspec.json.decode(await reader.readline(), type=Answer)
    finally:
        writer.close()
    if not answer.ok:
        raise ValueError(answer.error)
    return answer
