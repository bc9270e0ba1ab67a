"""A rehearsal in one program: a gateway, the mock model server behind it, and a caller that prints a streamed answer.

Run it with `python docs/examples/rehearse.py`; the caller is the `openai` package.
"""

import asyncio

import msgspec
from openai import AsyncOpenAI

from backends.mock import MockOptions, MockServer
from fastpath import Gateway, Settings
from scheduler.clock import SystemClock


async def ask(url: str) -> None:
    async with AsyncOpenAI(base_url=url, api_key="none is configured") as client:
        chunks = await client.chat.completions.create(
            model="llama", messages=[{"role": "user", "content": "What is a gateway?"}], stream=True
        )
        async for chunk in chunks:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


async def main() -> None:
    mock = MockServer(MockOptions(models=("llama",), ttft=0.2, rate=50), SystemClock())
    endpoint = {"url": f"http://127.0.0.1:{await mock.start()}/v1", "tier": "L1"}
    models = [{"name": "llama", "endpoints": [endpoint]}]
    async with Gateway(msgspec.convert({"listen": {"port": 0}, "models": models}, Settings)) as gateway:
        await ask(gateway.url)
    await mock.close()


if __name__ == "__main__":
    asyncio.run(main())
