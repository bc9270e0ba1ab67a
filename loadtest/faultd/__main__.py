"""`python -m loadtest.faultd`: the proxy as a process.

Owns the command line. Prints one JSON line with its ports when both listen; ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import msgspec

from loadtest.faultd.control import Control
from loadtest.faultd.proxy import Address, FaultProxy
from loadtest.faultd.record import RecordFile
from loadtest.faultd.rules import AnyRule
from scheduler.clock import SystemClock


class Ready(msgspec.Struct):
    """The line printed once both sockets listen. `control` is a loopback port or a Unix path."""

    listen: str
    port: int
    control: str | int


def address(text: str) -> Address:
    """Reads HOST:PORT (IPv6 in brackets). Raises ValueError, which argparse reports."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("loadtest.faultd", description="TCP proxy that injects faults.")
    parser.add_argument("--listen", type=address, default=("127.0.0.1", 0), help="HOST:PORT, port 0: a free one")
    parser.add_argument("--target", type=address, help="HOST:PORT to forward to")
    parser.add_argument("--control", default="0", help="path of a Unix socket, or a loopback port (0: a free one)")
    parser.add_argument("--log", type=Path, help="file for one JSON line per connection (appended)")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the rules and exit")
    options = parser.parse_args(arguments)
    if not options.schema and options.target is None:
        parser.error("--target is required")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Runs until a signal. Raises OSError when a port or file is not to be had."""
    with contextlib.ExitStack() as files:
        log = RecordFile(files.enter_context(options.log.open("ab"))) if options.log else None
        host, port = options.listen
        proxy = FaultProxy(options.target, SystemClock(), log, host=host)
        control = Control(proxy, int(options.control) if options.control.isdigit() else options.control)
        try:
            port = await proxy.start(port)
            ready = Ready(f"{host}:{port}", port, await control.start())
            print(msgspec.json.encode(ready).decode(), flush=True)
            await _signalled()
        finally:
            await control.close()
            await proxy.close()


async def _signalled() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.schema:
        print(msgspec.json.format(msgspec.json.encode(msgspec.json.schema(AnyRule))).decode())
        return 0
    asyncio.run(serve(options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
