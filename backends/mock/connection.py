"""One accepted connection: bytes in, requests out to turns, one at a time.

Owns reading (h11, one parser per request), keep-alive, pipelining, 100-continue, and telling a turn that its client
left. Reading never pauses: uvloop does not report a FIN on a paused socket.
Concurrency: callbacks and at most one turn task on one loop.
"""

import asyncio
from typing import cast

import h11

from backends.mock.control import is_unrecorded, takes_faults
from backends.mock.engine import Engine
from backends.mock.errors import RefusedError, error_body
from backends.mock.fault import NO_FAULT, Fault
from backends.mock.outlet import hang_up
from backends.mock.record import Record
from backends.mock.request import Request
from backends.mock.response import Head
from backends.mock.turn import Turn

MOST_HEADERS = 1_048_576
"""Bytes of a request head that are read."""


class Connection(asyncio.Protocol):
    """Serves one client; `owner` holds the open connections of the server."""

    def __init__(self, engine: Engine, owner: "set[Connection]") -> None:
        self._engine = engine
        self._owner = owner
        self._number = engine.next_connection()
        self._parser = _new_parser()
        self._request: Request | None = None
        self._record: Record | None = None
        self._turn: Turn | None = None
        self._task: asyncio.Task[bool] | None = None
        self._unpaused: asyncio.Future[None] | None = None
        self._deaf = False

    # --- transport callbacks ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # A TLS transport pauses at its high mark itself, not above it, and would never resume from 0.
        self._transport.set_write_buffer_limits(1 if transport.get_extra_info("sslcontext") else 0, 0)
        self._owner.add(self)
        fault = self._engine.take_accept()
        if fault is not None:
            self._drop(self._engine.open_record(self._number, "", ""), fault)

    def data_received(self, data: bytes) -> None:
        if not self._deaf:
            self._parser.receive_data(data)
            self._advance()

    def eof_received(self) -> None:
        if self._task is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.discard(self)
        self._deaf = True
        if self._task is not None:
            self._task.cancel()
        elif self._request is not None:
            self._settle(self._turn or self._make_turn(self._request))

    def pause_writing(self) -> None:
        self._unpaused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        unpaused, self._unpaused = self._unpaused, None
        if unpaused is not None and not unpaused.done():
            unpaused.set_result(None)

    async def drain(self) -> None:
        """Returns once the kernel has taken all that was written."""
        if self._unpaused is not None:
            await self._unpaused

    # --- requests ---------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        while not self._deaf:
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error)
                return
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return
            self._on_event(event)

    def _on_event(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._on_head(event)
        elif isinstance(event, h11.Data) and self._request is not None:
            self._on_body(self._request, bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and self._request is not None:
            self._on_end(self._request)

    def _on_head(self, event: h11.Request) -> None:
        request = self._request = Request(event)
        self._record = None
        if not is_unrecorded(request.path):
            self._record = self._engine.open_record(self._number, request.method, request.path)
            self._record.query = request.query
        if takes_faults(request.path):
            request.fault = self._engine.take_fault(request.method, request.path)
        self._greet(request, request.fault or NO_FAULT)

    def _greet(self, request: Request, fault: Fault) -> None:
        """What happens before the body: a scripted death or answer, or the interim answer the client waits for."""
        if fault.die == "accept" and self._record is not None:
            self._request = None
            self._drop(self._record, fault)
        elif fault.early_response:
            self._start(request)
        elif self._parser.they_are_waiting_for_100_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _on_body(self, request: Request, data: bytes) -> None:
        request.receive(data, self._engine.options.body_limit)
        if request.oversized and self._turn is None:
            self._start(request)

    def _on_end(self, request: Request) -> None:
        request.complete = True
        if self._turn is None:
            self._start(request)
        elif self._task is None:
            self._settle(self._turn)
            self._next()

    # --- turns ------------------------------------------------------------------------------------------------------

    def _start(self, request: Request) -> None:
        self._turn = self._make_turn(request)
        self._task = asyncio.get_running_loop().create_task(self._turn.run())
        self._task.add_done_callback(self._on_turn_done)

    def _make_turn(self, request: Request) -> Turn:
        return Turn(self._engine, request, self._record, self._transport, self.drain)

    def _on_turn_done(self, task: asyncio.Task[bool]) -> None:
        turn, request = self._turn, self._request
        self._task = None
        if turn is None or request is None:
            raise RuntimeError("a turn ended that this connection did not start")
        keep = self._outcome(task)
        if keep and not request.complete and not self._deaf:
            return  # answered early: the body is still on its way
        self._settle(turn)
        if keep:
            self._next()
        else:
            self._transport.close()

    def _outcome(self, task: asyncio.Task[bool]) -> bool:
        if task.cancelled():
            return False
        error = task.exception()
        if error is None:
            return task.result()
        context = {"message": "mock: a turn failed", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(context)
        self._transport.abort()
        return False

    def _settle(self, turn: Turn) -> None:
        turn.finish()
        self._turn = self._request = self._record = None

    def _next(self) -> None:
        """Goes on with what came behind the last request."""
        rest, _ = self._parser.trailing_data
        self._parser = _new_parser()
        if rest:
            self.data_received(rest)

    # --- ends -------------------------------------------------------------------------------------------------------

    def shut(self) -> asyncio.Task[bool] | None:
        """The server closes: ends the turn and the connection. Returns the task that is still ending."""
        if self._turn is not None:
            self._turn.closed_by = "server"
        task = self._task
        if task is not None:
            task.cancel()
        self._transport.abort()
        return task

    def _drop(self, record: Record, fault: Fault) -> None:
        """Ends the connection for a fault before any request was read."""
        self._deaf = True
        record.closed_by, record.fault = "server", fault
        self._engine.close_record(record)
        hang_up(self._transport, fault.how)

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answers what is no HTTP with a 400 (or what h11 suggests) and closes."""
        self._deaf = True
        status = error.error_status_hint
        body = error_body("", RefusedError(status, f"Bad request: {error}", code="bad_request"))
        head = Head(status, NO_FAULT)
        head.add("content-type", "application/json")
        head.add("content-length", len(body))
        head.add("connection", "close")
        self._transport.write(head.encode() + body)
        self._transport.close()


def _new_parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADERS)
