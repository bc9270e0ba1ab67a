"""The proxy as a process, steered over its control socket."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.faultd import Corrupt, Cut
from loadtest.faultd.control import Drop, SetRules, Status, ask

ROOT = Path(__file__).parents[2]


class Process:
    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self.child = child
        self.log = log
        self.port = 0
        self.control: str | int = 0

    async def stop(self) -> list[dict[str, Any]]:
        """Ends it with SIGTERM; returns its log."""
        self.child.terminate()
        assert await self.child.wait() == 0
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(params=["port", "path"])
async def process(request: pytest.FixtureRequest, bench: Any, tmp_path: Path) -> AsyncIterator[Process]:
    control = "0" if request.param == "port" else str(tmp_path / "control.sock")
    command = ["-m", "loadtest.faultd", "--target", f"127.0.0.1:{bench.target.port}", "--control", control]
    child = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--log", str(tmp_path / "proxy.jsonl"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    process = Process(child, tmp_path / "proxy.jsonl")
    ready = json.loads(await child.stdout.readline())
    process.port, process.control = ready["port"], ready["control"]
    yield process
    if child.returncode is None:
        child.kill()
        await child.wait()


async def test_rules_over_the_control_socket(bench: Any, process: Process) -> None:
    bench.target.answer, bench.port = b"answer", process.port
    assert await bench.ask() == b"answer"
    await ask(process.control, SetRules([Corrupt(offset=0, byte=0x41)], seed=1))
    assert await bench.ask() == b"Answer"
    await ask(process.control, SetRules([Cut(after_bytes=2)]))
    assert await bench.ask() == b"an"
    status = await ask(process.control, Status())
    assert status.total == 3
    lines = await process.stop()
    assert [line["applied"] for line in lines] == [[], ["corrupt"], ["cut"]]
    assert lines[2]["down"]["forwarded"] == 2


async def test_bad_commands_are_answered_and_change_nothing(bench: Any, process: Process) -> None:
    reader, writer = await (
        asyncio.open_unix_connection(process.control)
        if isinstance(process.control, str)
        else asyncio.open_connection("127.0.0.1", process.control)
    )
    for line in (b"{\n", b'{"do":"dance"}\n', b'{"do":"set_rules","rules":[{"fault":"cut"}]}\n'):
        writer.write(line)
        answer = json.loads(await reader.readline())
        assert answer["ok"] is False
        assert answer["error"]
    writer.write(b'{"do":"status"}\n')
    assert json.loads(await reader.readline()) == {"ok": True}
    writer.close()
    bench.target.answer, bench.port = b"answer", process.port
    assert await bench.ask() == b"answer"


async def test_drop_over_the_control_socket(bench: Any, process: Process) -> None:
    bench.target.hold, bench.target.answer, bench.port = True, b"answer", process.port
    reader, writer = await bench.connect()
    writer.write(b"hello")
    assert await reader.readexactly(6) == b"answer"
    assert (await ask(process.control, Drop("rst"))).dropped == 1
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert [line["closed_by"] for line in await process.stop()] == ["proxy"]


async def test_schema_is_printed() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtest.faultd", "--schema", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert "Cut" in json.loads(out)["$defs"]
