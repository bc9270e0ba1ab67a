"""F52: signals that come twice or in floods, dead children, and life as the first process of a container: idempotent.

Streams run meanwhile, and none of them may notice.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from loadtest.rig import Conversation, assert_broken, assert_complete, chat
from loadtest.rig.doors import doors_of
from loadtest.rig.node import metric, over, port_of, until

EVENTS = 20
PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).parents[2]


@pytest.fixture
def models(mock_process: Any) -> list[dict[str, Any]]:
    """A model server that says ten tokens a second."""
    mock = mock_process("--model", "llama", "--rate", "10", "--tokens", str(EVENTS))
    endpoint = {"url": mock.url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}
    return [{"name": "llama", "endpoints": [endpoint]}]


@pytest.fixture
def node(models: list[dict[str, Any]], gateway_process: Any) -> Any:
    return gateway_process({"models": models, "workers": 2, "listen": {"drain": 30}})


async def open_streams(node: Any, count: int = 20) -> list[Conversation]:
    streams = [await Conversation.open(port_of(node)) for _ in range(count)]
    for client in streams:
        client.send(chat(key=node.key, stream=True, max_tokens=EVENTS))
    for client in streams:
        await client.events(1)
    return streams


def assert_streams_complete(streams: list[Conversation]) -> None:
    for client in streams:
        (reply,) = client.reader.done
        assert_complete(reply, stream=True)
        assert len(reply.text.encode()) == EVENTS * 4
        client.leave()


async def read(streams: list[Conversation]) -> None:
    for client in streams:
        await client.until(lambda c=client: c.reader.done)


async def test_F52_sigterm_again_and_again_is_one_sigterm(node: Any) -> None:
    """Sent to the supervisor and to all of its workers, as service managers do: what runs still ends whole."""
    streams = await open_streams(node)
    family = [psutil.Process(node.process.pid), *node.children()]
    for _ in range(20):
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):  # a worker without streams is done
                process.terminate()
        await asyncio.sleep(0.01)
    await read(streams)
    assert_streams_complete(streams)
    assert await asyncio.to_thread(node.process.wait, 10) == 0
    assert all(over(process) for process in family)
    assert not [line for line in node.lines if "Traceback" in line]
    assert len(node.access_lines(20)) == 20


async def test_F52_an_interrupt_after_sigterm_ends_at_once(node: Any) -> None:
    streams = await open_streams(node)
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGINT)
    for client in streams:
        with contextlib.suppress(ConnectionError):  # after a second the processes are killed, done or not
            await client.until(lambda c=client: c.reader.done)
        reply = client.reader.done[0] if client.reader.done else client.reader.current
        assert reply.done == 0, "never a false end"
        if reply.whole:
            assert_broken(reply, "overloaded")
        client.leave()
    assert await asyncio.to_thread(node.process.wait, 10) == 0


async def test_F52_a_flood_of_reloads_changes_nothing_for_anyone(node: Any) -> None:
    streams = await open_streams(node)
    workers = node.children()
    request = chat({"rate": 0, "tokens": 2}, key=node.key)
    for number in range(500):
        node.process.send_signal(signal.SIGHUP)
        if number % 25 == 0:
            client = await Conversation.open(port_of(node))
            assert_complete(await client.ask(request), stream=False)
            client.leave()
    await read(streams)
    assert_streams_complete(streams)
    assert node.children() == workers
    assert 1 <= metric(node, 'fastpath_config_reloads_total{result="ok"}') <= 500
    assert metric(node, 'fastpath_config_reloads_total{result="rejected"}') == 0
    for worker in workers:
        worker.send_signal(signal.SIGHUP)
    client = await Conversation.open(port_of(node))
    assert_complete(await client.ask(request), stream=False)
    client.leave()
    assert node.children() == workers


async def test_F52_signals_of_all_kinds_at_once_end_in_one_clean_end(node: Any) -> None:
    streams = await open_streams(node, 5)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2):
        node.process.send_signal(number)
    await read(streams)
    assert_streams_complete(streams)
    assert await asyncio.to_thread(node.process.wait, 10) == 0, node.lines
    assert not node.children()


def test_F52_dead_workers_leave_no_zombie(node: Any) -> None:
    supervisor = psutil.Process(node.process.pid)
    for round_number in range(1, 4):
        victims = node.children()
        for victim in victims:
            victim.kill()
        until(lambda v=victims: not any(victim.is_running() for victim in v))
        until(lambda n=round_number: metric(node, "fastpath_worker_restarts_total") == 2 * n)
        until(lambda: metric(node, "fastpath_workers") == 2)
        assert all(child.status() != psutil.STATUS_ZOMBIE for child in supervisor.children())


class FirstProcess:
    """A gateway that is the first process of a namespace; where none can be made, one that orphans are given to alike.

    Two processes that it did not start are its children: one from before it was a gateway, and an orphan. They end when
    `release` is called.
    """

    def __init__(self, upstream: Any, door: str, folder: Path) -> None:
        namespace = ["unshare", "-pf" if os.geteuid() == 0 else "-Urpf", "--mount-proc"]
        self.isolated = subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode == 0
        flags = f"--upstream {upstream.url} --port 0 --admin-port 0 --workers 2 --door {door} --state-dir state"
        serve = f"exec {sys.executable} -P -m fastpath.cli serve {flags}"
        script = f"exec 3<&0; cat <&3 & (cat <&3 &); {serve} </dev/null 3<&-"
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
        self.process = subprocess.Popen(
            [*(namespace if self.isolated else []), "sh", "-c", script],
            cwd=folder,
            env=environ | {"FASTPATH_UPSTREAM_KEY": upstream.key},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=None if self.isolated else reap_orphans,
        )
        self.url, self.admin_url = re.findall(r"http://[^\s,)]+", self.line("serving on"))
        found = psutil.Process(self.process.pid)
        self.supervisor = found.children()[0] if self.isolated else found

    def line(self, text: str) -> str:
        """The next line with `text` in it."""
        assert self.process.stderr is not None
        while text not in (line := self.process.stderr.readline()):
            assert line, f"it ended without a line with {text!r}"
        return line

    def children(self) -> list[str]:
        """The names of its children."""
        return sorted(child.name() for child in self.supervisor.children())

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        if not over(self.supervisor):
            for process in (*self.supervisor.children(recursive=True), self.supervisor):
                process.kill()
        self.process.wait()
        self.release()
        assert self.process.stderr is not None
        self.process.stderr.close()


def reap_orphans() -> None:
    """What the first process of a container does by birth."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.fixture
def first_process(mock_process: Any, door: str, tmp_path: Path) -> Iterator[FirstProcess]:
    mock = mock_process("--model", "llama", "--rate", "10", "--tokens", str(EVENTS))
    first = FirstProcess(mock, door, tmp_path)
    yield first
    first.end()


async def test_F52_the_first_process_of_a_container_reaps_and_ends_cleanly(
    first_process: FirstProcess, door: str
) -> None:
    first = first_process
    workers = [child for child in first.supervisor.children() if child.name() != "cat"]
    assert doors_of(worker.pid for worker in workers) == {door}
    assert first.children().count("cat") == 2
    first.release()
    await asyncio.to_thread(until, lambda: first.children().count("cat") == 0)
    assert first.supervisor.children() == workers, "none is a zombie, and no worker is gone"
    port = urlsplit(first.url).port
    assert port is not None
    client = await Conversation.open(port)
    client.send(chat(stream=True, max_tokens=EVENTS))
    await client.events(1)
    if first.isolated:
        first.supervisor.send_signal(signal.SIGUSR2)
        assert "start another container" in await asyncio.to_thread(first.line, "not handed over")
    for _ in range(3):
        first.supervisor.terminate()
    assert_complete(await client.reply(), stream=True)
    client.leave()
    assert await asyncio.to_thread(first.process.wait, 10) == 0
