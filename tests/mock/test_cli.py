"""The command line, as a process."""

import asyncio
import json
import signal
import sys

import pytest

from backends.mock import DEMO, MockOptions
from backends.mock.cli import make_parser, read_options


async def test_it_says_where_it_listens_serves_and_stops(tmp_path):
    log = tmp_path / "mock.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backends.mock", "--model", "llama", "--ttft", "0", "--rate", "0", "--log", str(log),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
        assert line.startswith("mock model server on http://127.0.0.1:")
        assert line.endswith("/v1\n")
        port = int(line.rpartition(":")[2].partition("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"model":"llama","messages":[{"role":"user","content":"x"}]}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert json.loads(log.read_text())["model"] == "llama"


async def test_a_taken_port_is_an_error(mock):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backends.mock", "--port", str(mock.port), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"in use" in errors


def test_flags_become_options(tmp_path):
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    flags = ["--model", "a", "--model", "b", "--slots", "3", "--prefix-cache", "--vary", "--api-key-file", str(key)]
    options = read_options(make_parser().parse_args(flags))
    assert options.models == ("a", "b")
    assert (options.slots, options.prefix_cache, options.vary, options.api_key) == (3, True, True, "s3cret")
    assert read_options(make_parser().parse_args([])) == DEMO


@pytest.mark.parametrize("wrong", [{"ttft": -1.0}, {"rate": -1.0}, {"models": ()}, {"dimensions": 0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        MockOptions(**wrong)
