"""A gateway inside your own program: one worker on your event loop, gone when the block ends.

Run it with the base URL of a model server: `python docs/examples/embed.py http://127.0.0.1:9001/v1`
"""

import asyncio
import sys

import msgspec

from fastpath import Gateway, Settings


async def main(upstream: str) -> None:
    settings = msgspec.convert(
        {
            "listen": {"port": 0},  # the kernel chooses
            "models": [{"name": "*", "endpoints": [{"url": upstream, "tier": "L1"}]}],
        },
        Settings,
    )
    async with Gateway(settings) as gateway:
        print(f"serving on {gateway.url}", flush=True)
        await asyncio.to_thread(sys.stdin.read)  # your program goes on here; this one waits for the end of its input


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
