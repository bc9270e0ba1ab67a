"""Messages between the supervisor and the watch process, over a channel as workers have it (`channel`).

Owns the message types. `Attach` comes first, then a `Look` with every change of the settings.
"""

import asyncio
import socket

import msgspec

from backends.watch.report import Report
from fastpath.process.channel import Attach, Channel
from fastpath.process.watched import Plan


class Look(msgspec.Struct, frozen=True, tag=True):
    """Whom to watch from now on."""

    plan: Plan


class Seen(msgspec.Struct, frozen=True, tag=True):
    """How all endpoints are: sent when it changed."""

    reports: list[Report]


class Beat(msgspec.Struct, frozen=True, tag=True):
    """It runs: sent every second."""


ToWatch = Attach | Look
FromWatch = Seen | Beat


async def open_watch_end(sock: socket.socket) -> Channel[ToWatch, FromWatch]:
    """The watch process's end over its inherited socket, which it takes over."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    return Channel(reader, writer, msgspec.msgpack.Decoder(ToWatch))


async def open_keeper_end(sock: socket.socket) -> Channel[FromWatch, ToWatch]:
    """The supervisor's end, over its half of the pair, which it takes over."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    return Channel(reader, writer, msgspec.msgpack.Decoder(FromWatch))
