"""The control process: opens what it needs, serves the admin port by Granian, stops when told to.

Owns the listener, signals, and the order of start and stop. Does not own what is served (`app`). One asyncio loop;
Granian's threads only carry bytes. It prints one line when it serves, and nothing that was sent to it.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import granian._granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from controlplane.app import Rooms, build_app, open_rooms
from controlplane.bootstrap import InitSocket
from controlplane.liaison import NodeSocket, Witness
from controlplane.secrets.master import MasterKeyError
from controlplane.settings import ControlSettings, ControlSettingsError, check_settings
from controlplane.store.errors import StoreError
from fastpath.settings.private import PrivateFileError

BACKLOG: Final = 128
YOUNG: Final = 100_000
"""Objects made more than freed between two looks of the collector at the young ones."""
GRACE: Final = 10.0
"""Seconds that running requests may take after the order to stop."""

#: What keeps a control process from starting and is the operator's to mend; each says how.
REFUSALS: Final = (ControlSettingsError, PrivateFileError, MasterKeyError, StoreError, ValueError, OSError)

Say = Callable[[str], None]
_rust: Any = granian._granian  # whose stubs leave out the constructor of SocketHolder


class AdminServer(Server):
    """Granian in this process, on a socket that is listening already."""

    def __init__(self, app: Any, listener: socket.socket, settings: ControlSettings) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto if settings.cert else HTTPModes.http1,
            http1_settings=HTTP1Settings(max_buffer_size=128 * 1024),
            websockets=False,
            log_level=LogLevels.error,
            ssl_cert=Path(settings.cert) if settings.cert else None,
            ssl_key=Path(settings.cert_key) if settings.cert_key else None,
        )
        self._listener = listener

    def end(self) -> None:
        """Takes no more requests; `serve` returns when those that run are over."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def _init_shared_socket(self) -> None:
        # Granian closes the descriptor it is given; the listener stays its owner's.
        self._shd = _rust.SocketHolder(os.dup(self._listener.fileno()), False, BACKLOG)
        self._ssp = None


def run(settings: ControlSettings, environ: Mapping[str, str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, or until standard input ends where the settings say so; gives the exit status."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="fastpath control: %(message)s")
    try:
        check_settings(settings)
        asyncio.run(_serve(settings, os.environ if environ is None else environ, _say))
    except REFUSALS as error:
        _say(f"fastpath control: {error}")
        return 1
    return 0


def _spare_the_collector() -> None:
    """What is here by now stays. A batch makes tens of thousands of rows that die with it, and walking them again and
    again while they grow took a tenth of settling's CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _serve(settings: ControlSettings, environ: Mapping[str, str], say: Say) -> None:
    stopping = _watch_for_end(settings.end_with_stdin)
    with _listen(settings) as listener:
        async with open_rooms(settings, environ, time.time) as rooms:
            _spare_the_collector()
            doors = (
                InitSocket(settings.folder, rooms.trail, rooms.hasher),
                NodeSocket(settings.folder, witness_of(rooms)),
            )
            try:
                for door in doors:
                    await door.start()
                await _serve_rooms(rooms, settings, listener, stopping, say)
            finally:
                for door in doors:
                    await door.close()


def witness_of(rooms: Rooms) -> Witness:
    """Who answers the supervisor."""
    alerting = rooms.alerting
    return Witness(rooms.database, rooms.billing.service, rooms.press, alerting.register, alerting.courier, rooms.scene)


async def _serve_rooms(
    rooms: Rooms, settings: ControlSettings, listener: socket.socket, stopping: asyncio.Event, say: Say
) -> None:
    server = AdminServer(build_app(rooms, settings.allowed_hosts), listener, settings)
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(stopping.wait())
    say(f"fastpath control serving on {_url(settings, listener)}")
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.end()
    await asyncio.wait({serving}, timeout=GRACE)
    waiting.cancel()
    if not serving.done():
        serving.cancel()
    await asyncio.gather(serving, waiting, return_exceptions=True)
    if not serving.cancelled() and (failure := serving.exception()) is not None:
        raise failure


def _watch_for_end(stdin: bool) -> asyncio.Event:
    """Set by a signal, or by the end of standard input: a parent that is gone stops nobody by a signal."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if stdin:

        def on_stdin() -> None:
            if not os.read(0, 4096):
                loop.remove_reader(0)
                stopping.set()

        loop.add_reader(0, on_stdin)
    return stopping


def _listen(settings: ControlSettings) -> socket.socket:
    """The listening socket: inherited, or opened here. Raises ControlSettingsError."""
    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or error
        raise ControlSettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({reason}): choose another with --host or --port"
        ) from None
    listener.setblocking(False)
    return listener


def _url(settings: ControlSettings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{'https' if settings.cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
