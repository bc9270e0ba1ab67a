"""The command line of the mock: `python -m backends.mock`, and `serve` for `fastpath mock`."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import uvloop

from backends.mock.options import DEMO, MockOptions
from backends.mock.server import MockServer
from scheduler.clock import SystemClock


def serve(options: MockOptions, host: str, port: int, log_path: str | None) -> None:
    """Serves until SIGTERM or SIGINT; prints the base URL once it listens. Raises OSError when the port is taken."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(Path(log_path).open("ab")) if log_path else None
        uvloop.run(_serve(options, host, port, log))


async def _serve(options: MockOptions, host: str, port: int, log: IO[bytes] | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = MockServer(options, SystemClock(), log)
    bound = await server.start(host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"mock model server on http://{shown}:{bound}/v1", flush=True)
    await stop.wait()
    await server.close()


def run(arguments: Sequence[str] | None = None) -> int:
    """Parses flags (None: those of the process) and serves. Returns the exit status."""
    parser = make_parser()
    given = parser.parse_args(arguments)
    try:
        serve(read_options(given), given.host, given.port, given.log)
    except (OSError, ValueError) as error:
        parser.exit(1, f"mock: {error}\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Flags of the command; the defaults are those of the demo."""
    parser = argparse.ArgumentParser(prog="python -m backends.mock", description="A model server without a model.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (%(default)s)")
    parser.add_argument("--log", metavar="FILE", help="append one JSON line per finished request")
    parser.add_argument("--model", action="append", metavar="NAME", help="a name to serve, repeatable")
    parser.add_argument("--engine", choices=("vllm", "sglang", "llama.cpp"), default=DEMO.engine,
                        help="whose names its /metrics has (%(default)s)")  # fmt: skip
    parser.add_argument("--api-key-file", metavar="FILE", help="file with the key that callers must send")
    _add_pace(parser)
    _add_prices(parser)
    return parser


def _add_pace(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--ttft", type=float, default=DEMO.ttft, help="seconds to the first token (%(default)s)")
    add("--rate", type=float, default=DEMO.rate, help="tokens a second, 0 for as fast as possible (%(default)s)")
    add("--tokens", type=int, default=DEMO.tokens, help="tokens in an answer (%(default)s)")
    add("--slots", type=int, default=DEMO.slots, help="requests that run at once, 0 for no limit (%(default)s)")
    add("--prefix-cache", action="store_true", help="report and speed up prompts that share a prefix")
    add("--cache-blocks", type=int, default=DEMO.cache_blocks, help="blocks of 16 tokens in that cache (%(default)s)")


def _add_prices(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--input-price", type=int, default=0, help="nano-units per prompt token (%(default)s)")
    add("--cached-price", type=int, help="nano-units per cached prompt token (as --input-price)")
    add("--output-price", type=int, default=0, help="nano-units per generated token (%(default)s)")
    add("--seed", type=int, default=0, help="changes every answer (%(default)s)")
    add("--vary", action="store_true", help="another answer each time")
    add("--dimensions", type=int, default=DEMO.dimensions, help="length of embedding vectors (%(default)s)")
    add("--body-limit", type=int, default=DEMO.body_limit, help="bytes of a request body accepted (%(default)s)")
    add("--keep", type=int, default=DEMO.keep, help="records kept in memory (%(default)s)")


def read_options(given: argparse.Namespace) -> MockOptions:
    """Flags as options. Raises OSError for an unreadable key file, ValueError for numbers that make no sense."""
    names = set(MockOptions.__struct_fields__) - {"models", "api_key"}
    plain = {name: getattr(given, name) for name in names}
    key = Path(given.api_key_file).read_text().strip() if given.api_key_file else None
    return MockOptions(models=tuple(given.model or DEMO.models), api_key=key, **plain)
