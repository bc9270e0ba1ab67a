"""The watch process: `python -m fastpath.process.watcher`, exec'ed by the supervisor, one per node.

Owns the process and its end of the channel. Does not own what is asked (`backends.watch`). It holds nothing that would
be missed: killed at any moment it leaves facts that grow old. Concurrency: one uvloop. When the supervisor is gone it
exits.
"""

import argparse
import asyncio
import faulthandler
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvloop

from _native.arena import Arena
from fastpath.arena import join_arena
from fastpath.observe.metrics import Metrics
from fastpath.process.channel import Attach, Channel
from fastpath.process.node_map import attach_map
from fastpath.process.watch_channel import Beat, FromWatch, Look, Seen, ToWatch, open_watch_end
from fastpath.process.watching import Watching
from scheduler.clock import SystemClock

BEAT_EVERY: Final = 1.0
GATHER: Final = 0.05  # seconds in which news come together, so that a thousand of them are one message


def open_node_arena(attach: Attach, arena_fd: int) -> Arena:
    """The node's arena, joined. Raises ArenaError or OSError."""
    if attach.folder is None:
        return attach_map(arena_fd, attach.secret)
    return join_arena(Path(attach.folder), attach.secret)


async def watch(channel: Channel[ToWatch, FromWatch], arena_fd: int) -> int:
    """Until the supervisor is gone; gives the exit status."""
    attach = await channel.receive()
    if not isinstance(attach, Attach):
        return 1
    metrics = Metrics(open_node_arena(attach, arena_fd))
    news = asyncio.Event()
    async with Watching(metrics, SystemClock(), news.set) as watching:
        chores = [asyncio.create_task(_beat(channel)), asyncio.create_task(_tell(channel, watching, news))]
        while isinstance(message := await channel.receive(), Look):
            await watching.use(message.plan)
        for chore in chores:
            chore.cancel()
        await asyncio.wait(chores)
    metrics.arena.leave()
    return 0


async def _beat(channel: Channel[ToWatch, FromWatch]) -> None:
    while True:
        channel.send(Beat())
        await asyncio.sleep(BEAT_EVERY)


async def _tell(channel: Channel[ToWatch, FromWatch], watching: Watching, news: asyncio.Event) -> None:
    while True:
        await news.wait()
        await asyncio.sleep(GATHER)
        news.clear()
        channel.send(Seen(watching.reports()))


async def serve(arena_fd: int, channel_fd: int) -> int:
    """Watches over inherited descriptors; gives the exit status."""
    channel = await open_watch_end(socket.socket(fileno=channel_fd))
    try:
        watching = asyncio.ensure_future(watch(channel, arena_fd))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, watching.cancel)
        with suppress(asyncio.CancelledError):
            return await watching
        return 0
    finally:
        await channel.close()


def main(arguments: list[str] | None = None) -> int:
    """Entry point; gives the exit status."""
    parser = argparse.ArgumentParser(prog="fastpath-watch")
    parser.add_argument("--arena-fd", type=int, required=True)
    parser.add_argument("--channel-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):  # the supervisor decides what they mean
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(options.arena_fd, options.channel_fd))


if __name__ == "__main__":
    sys.exit(main())
