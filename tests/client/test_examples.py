"""The example programs do what their first lines say, as a person runs them."""

import os
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from backends.mock import MockOptions, MockServer
from fastpath import Gateway, Settings
from fastpath.settings import Endpoint, Listen, Model
from scheduler.clock import SystemClock

ROOT = Path(__file__).parents[2]


def run_example(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(ROOT / "docs" / "examples" / name)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_rehearse_prints_a_streamed_answer(tmp_path: Path) -> None:
    done = run_example("rehearse.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) > 16


async def test_a_gateway_in_this_program_answers_and_is_gone_afterwards() -> None:
    """`Gateway` as the examples use it: on the caller's own loop, its port closed at the end."""
    mock = MockServer(MockOptions(models=("llama",), tokens=3), SystemClock())
    endpoint = Endpoint(url=f"http://127.0.0.1:{await mock.start()}/v1", tier="L1")
    settings = Settings(listen=Listen(port=0), models=(Model(name="llama", endpoints=(endpoint,)),))
    asked = {"model": "llama", "messages": [{"role": "user", "content": "hello"}]}
    async with openai.AsyncOpenAI(base_url="http://none", api_key="none", max_retries=0) as client:
        async with Gateway(settings) as gateway:
            client.base_url = gateway.url
            answer = await client.chat.completions.create(**asked)
            assert answer.usage.completion_tokens == 3
            chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
            told = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            assert told == answer.choices[0].message.content
        with pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(**asked)
    await mock.close()
