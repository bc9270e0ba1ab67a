"""The gateway of a leak run, in a process of its own: `python -m loadtest.residency.gateway FILE WALLS`.

Owns which walls stand: `both`, `gate` (routing is offered everything), `none`. Taking one down replaces what the relay
calls, in this process alone; the product has no switch for it. Prints its URL, loads FILE anew for each line on
standard input, and ends with it.
"""

import asyncio
import os
import sys
from pathlib import Path

import fastpath.identity.token.issuers as issuers
import fastpath.relay.delivery as relay
from fastpath.app import Gateway
from fastpath.identity.token.rotation import Pace
from fastpath.settings.file import read

WALLS = ("both", "gate", "none")


def hurry() -> None:
    """An identity provider is asked whenever a token gives reason to, and not every 30 seconds: a run is shorter."""
    setattr(issuers, "Pace", lambda: Pace(least=0.02))  # noqa: B010


def take_down(walls: str) -> None:
    """Leaves these walls standing."""
    if walls in ("gate", "none"):
        setattr(relay, "narrow", lambda targets, label: targets)  # noqa: B010  (what it imported, not what it offers)
    if walls == "none":
        setattr(relay, "egress", lambda label, place: None)  # noqa: B010


async def serve(file: Path) -> None:
    """Runs until standard input ends."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: print("reported:", context.get("exception"), flush=True))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Gateway(read(file, os.environ)) as gateway:
        print(f"serving {gateway.url}", flush=True)
        while await reader.readline():
            assert gateway.app is not None
            gateway.app.reload(read(file, os.environ))
            print("reloaded", flush=True)
        counters = gateway.metrics.snapshot().counters.get("fastpath_egress_violations_total", {})
        print(f"violations {sum(counters.values())}", flush=True)


if __name__ == "__main__":
    hurry()
    take_down(sys.argv[2])
    asyncio.run(serve(Path(sys.argv[1])))
