"""Publications between nodes through a real Redis: gone, frozen, emptied, lying. It may only ever delay."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fastpath.publication import FolderWriter, Refused, make_signer
from fastpath.publication.redis import BUDGET, CHUNK, Downlink, Link, Unreachable, Uplink
from tests.publication.nodes import NOW, Node, Plane, Ticking, digest, ended, eventually, rows

POLL = 0.02


class Server:
    """A redis-server of this test alone, in memory, on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "redis.sock"
        self.url = f"unix://{self.path}"
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, cwd=self.path.parent, stdout=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < ends
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
            sock.connect(str(self.path))
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
        return False

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        self.signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class Far:
    """Another node: its own folder, filled from Redis, and a process that follows it."""

    def __init__(self, path: Path, plane: Plane, url: str, budget: float) -> None:
        self.node = Node(path, plane.trust)
        self.link = Link(url, "fp", budget)
        self.writer = FolderWriter(self.node.folder)
        self.said: list[str] = []
        self.downlink = Downlink(self.link, self.writer, self.node.verifier, self.said.append)

    @asynccontextmanager
    async def following(self, poll: float = POLL) -> AsyncIterator["Far"]:
        task = asyncio.create_task(self.downlink.run(poll))
        async with self.node.following():
            yield self
        await ended(task)
        await self.close()

    async def close(self) -> None:
        await self.link.close()
        self.writer.close()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


Opener = Callable[..., Any]


@pytest.fixture
def far(plane: Plane, server: Server, tmp_path: Path, stack: AsyncExitStack) -> Opener:
    """`far(name, url=..., budget=...)`: another node. On a busy machine 50 ms are little, so the budget is longer."""

    def make(name: str, url: str | None = None, budget: float = 2.0) -> Far:
        return Far(tmp_path / name, plane, url or server.url, budget)

    return make


@pytest.fixture
async def uplink(plane: Plane, server: Server, stack: AsyncExitStack) -> Uplink:
    link = Link(server.url, "fp", 2.0)
    stack.push_async_callback(link.close)
    return Uplink(link, plane.folder, plane.trust, lambda line: None)


async def test_two_nodes_follow(plane: Plane, uplink: Uplink, far: Opener, stack: AsyncExitStack) -> None:
    plane.publisher.publish_all(b"one", rows(20_000))
    task = asyncio.create_task(uplink.run(POLL))
    nodes = [await stack.enter_async_context(far(name).following()) for name in ("a", "b")]
    for one in nodes:
        await one.node.until(lambda one=one: one.node.taken)
    plane.publisher.publish_changes(b"two", revoked=[digest(7)])
    uplink.wake()
    for one in nodes:
        await one.node.until(lambda one=one: len(one.node.taken) == 2)
        assert one.node.taken[-1].settings == b"two"
        assert one.node.taken[-1].lookup().find(digest(7), NOW) == -2
        assert one.said == []
    await ended(task)


async def test_news_come_by_subscription(plane: Plane, uplink: Uplink, far: Opener, stack: AsyncExitStack) -> None:
    one = far("a")
    await stack.enter_async_context(one.following(poll=3600))
    plane.publisher.publish_all(b"one", rows(10))
    await eventually(lambda: subscribers(uplink))
    await uplink.push()
    await one.node.until(lambda: one.node.taken)


def subscribers(uplink: Uplink) -> bool:
    path = uplink._link.client.connection_pool.connection_kwargs["path"]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"PUBSUB NUMSUB fp:news\r\n")
        return sock.recv(256).endswith(b":1\r\n")


async def test_a_node_has_what_it_took_without_redis(plane: Plane, uplink: Uplink, far: Opener, server: Server) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    await uplink.push()
    one = far("a")
    assert await one.downlink.pull()
    await one.close()
    server.process.kill()
    restarted = far("a")
    with pytest.raises(Unreachable):
        await restarted.downlink.pull()
    found = restarted.node.take()
    assert found is not None
    assert found.settings == b"one"
    await restarted.close()


async def test_only_what_changed_travels(plane: Plane, uplink: Uplink, far: Opener) -> None:
    plane.publisher.publish_all(b"one", rows(20_000))
    await uplink.push()
    one = far("a")
    await one.downlink.pull()
    base = os.stat(one.node.folder.path / plane.publisher._current.base.name)  # type: ignore[union-attr]
    plane.publisher.publish_changes(b"two", revoked=[digest(1)])
    await uplink.push()
    before = await commands(uplink, "getrange")
    await one.downlink.pull()
    assert await commands(uplink, "getrange") - before == 3, "manifest, settings and delta"
    assert os.stat(one.node.folder.path / plane.publisher._current.base.name).st_ino == base.st_ino  # type: ignore[union-attr]
    assert not await one.downlink.pull()
    await one.close()


async def commands(uplink: Uplink, name: str) -> int:
    found: dict[str, Any] = await uplink._link.client.info("commandstats")
    return int(found.get(f"cmdstat_{name}", {"calls": 0})["calls"])


async def test_redis_that_lost_everything_is_filled_again(plane: Plane, uplink: Uplink, far: Opener) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    assert await uplink.push()
    assert not await uplink.push()
    await uplink._link.client.flushall()
    assert await uplink.push()
    (piece,) = list(await uplink._link.client.keys("fp:keys-*"))
    await uplink._link.client.delete(piece)
    assert await uplink.push()
    one = far("a")
    assert await one.downlink.pull()
    await one.close()


async def test_pieces_that_nobody_names_pass_away(plane: Plane, uplink: Uplink) -> None:
    client = uplink._link.client
    plane.publisher.publish_all(b"one", rows(10))
    await uplink.push()
    plane.publisher.publish_all(b"two", rows(11))
    await uplink.push()
    lives = [await client.ttl(key) for key in await client.keys("fp:*")]
    assert sorted(life > 0 for life in lives) == [False, False, False, True, True]


async def test_an_older_one_in_redis_is_refused(plane: Plane, uplink: Uplink, far: Opener) -> None:
    client = uplink._link.client
    plane.publisher.publish_all(b"one", rows(10))
    await uplink.push()
    old = {key: await client.get(key) for key in await client.keys("*")}
    plane.publisher.publish_changes(b"two", revoked=[digest(1)])
    await uplink.push()
    one = far("a")
    await one.downlink.pull()
    for key, data in old.items():  # as a replica that was promoted without the last writes
        assert data is not None
        await client.set(key, data)
    with pytest.raises(Refused, match="came after"):
        await one.downlink.pull()
    assert not await one.downlink.pull(), "it is refused once, not at every look"
    assert one.node.verifier.refusals == {"rollback": 1}
    assert await uplink.push(), "and put right by the control plane"
    found = one.node.take()
    assert found is not None
    assert found.settings == b"two"
    await one.close()


async def test_a_control_plane_that_is_behind_does_not_write(plane: Plane, uplink: Uplink, tmp_path: Path) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    ahead = Plane(tmp_path / "ahead", plane.signer)
    ahead.clock.advance(60)
    ahead.publisher.publish_all(b"newer", rows(10))
    assert await Uplink(uplink._link, ahead.folder, plane.trust, lambda line: None).push()
    assert not await uplink.push()
    ahead.publisher.close()


LIES: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda envelope: b"\xff" * 200,
    "empty": lambda envelope: b"",
    "endless": lambda envelope: envelope + bytes(100_000),
    "flipped": lambda envelope: envelope[:-1] + bytes([envelope[-1] ^ 1]),
    "cut": lambda envelope: envelope[:90],
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_manifest_that_is_none_changes_nothing(
    plane: Plane, uplink: Uplink, far: Opener, stack: AsyncExitStack, lie: str
) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    await uplink.push()
    one = await stack.enter_async_context(far("a").following())
    await one.node.until(lambda: one.node.taken)
    envelope = plane.folder.envelope()
    assert envelope is not None
    await uplink._link.client.set("fp:manifest", LIES[lie](envelope))
    if lie != "empty":
        await eventually(lambda: one.node.verifier.refusals)
        assert len(one.said) == 1
    assert one.node.folder.envelope() == envelope
    plane.publisher.publish_changes(b"two")
    await uplink.push()
    await one.node.until(lambda: one.node.taken[-1].settings == b"two")


async def test_a_foreign_signer_changes_nothing(plane: Plane, uplink: Uplink, far: Opener, tmp_path: Path) -> None:
    foreign = Plane(tmp_path / "foreign", make_signer(tmp_path / "foreign-keys"))
    foreign.publisher.publish_all(b"an endpoint of theirs", rows(1))
    assert await Uplink(uplink._link, foreign.folder, foreign.trust, lambda line: None).push()
    one = far("a")
    with pytest.raises(Refused, match="not trusted"):
        await one.downlink.pull()
    assert one.node.folder.envelope() is None
    plane.publisher.publish_all(b"one", rows(1))
    assert await uplink.push(), "written over"
    assert await one.downlink.pull()
    foreign.publisher.close()
    await one.close()


@pytest.mark.parametrize("which", ["settings", "keys"])
async def test_a_piece_that_lies_is_asked_for_again(
    plane: Plane, uplink: Uplink, far: Opener, stack: AsyncExitStack, which: str
) -> None:
    plane.publisher.publish_all(b"one", rows(5_000))
    await uplink.push()
    client = uplink._link.client
    (key,) = await client.keys(f"fp:{which}-*")
    good = await client.get(key)
    assert good is not None
    await client.set(key, bytes(len(good)))
    one = await stack.enter_async_context(far("a").following())
    await eventually(lambda: one.node.verifier.refusals.get("damaged"))
    assert one.node.folder.envelope() is None
    assert not [path for path in one.node.folder.path.iterdir() if path.name.endswith(".draft")]
    task = asyncio.create_task(uplink.run(POLL))
    await one.node.until(lambda: one.node.taken)
    await ended(task)


async def test_a_large_piece_travels_in_parts(plane: Plane, uplink: Uplink, far: Opener) -> None:
    manifest = plane.publisher.publish_all(b"one", rows(10_000))
    assert manifest.base.size > 3 * CHUNK
    await uplink.push()
    one = far("a")
    await one.downlink.pull()
    found = one.node.take()
    assert found is not None
    assert found.base.table.root == manifest.base.root
    await one.close()


# --- Redis that does not answer ---------------------------------------------------------------------------------------


async def test_frozen_redis_holds_nothing_up(
    plane: Plane, uplink: Uplink, far: Opener, server: Server, stack: AsyncExitStack
) -> None:
    plane.publisher.publish_all(b"one", rows(100))
    await uplink.push()
    one = await stack.enter_async_context(far("a", budget=0.05).following())
    await eventually(lambda: one.node.taken)
    server.signal(signal.SIGSTOP)
    failures = one.link.failures
    async with Ticking(0.001) as ticking:
        await eventually(lambda: one.link.failures >= failures + 3)
        ticks = len(ticking.pauses)
    assert ticks > 30, "three calls ran out of time, and the loop went on"
    assert one.node.taken[-1].lookup().find(digest(3), NOW) >= 0
    plane.publisher.publish_changes(b"two", revoked=[digest(3)])
    server.signal(signal.SIGCONT)
    await uplink.push()
    await one.node.until(lambda: one.node.taken[-1].settings == b"two")


async def test_a_killed_redis_is_found_again(
    plane: Plane, uplink: Uplink, far: Opener, server: Server, stack: AsyncExitStack
) -> None:
    plane.publisher.publish_all(b"one", rows(100))
    task = asyncio.create_task(uplink.run(POLL))
    one = await stack.enter_async_context(far("a").following())
    await one.node.until(lambda: one.node.taken)
    server.process.kill()
    server.process.wait()
    await eventually(lambda: one.link.failures > 2)
    plane.publisher.publish_changes(b"two")
    server.start()  # empty
    await one.node.until(lambda: one.node.taken[-1].settings == b"two")
    assert one.node.verifier.refusals == {}
    await ended(task)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$99999999999\r\n",
        b":x\r\n",
        b"*-7\r\n",
        b"*1\r\n" * 5000,
        b"$-1\r\n",
    ],
    ids=["silent", "http", "huge", "number", "array", "nested", "nil"],
)
async def test_a_server_that_is_no_redis_changes_nothing(far: Opener, tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()
        writer.close()

    stand_in = await asyncio.start_unix_server(serve, tmp_path / "s")
    one = far("a", f"unix://{tmp_path / 's'}", 0.1)
    for _ in range(3):
        assert await told(one.downlink.pull()) in (False, Unreachable)
    assert one.node.folder.envelope() is None
    await one.close()
    stand_in.close()


async def told(answer: Awaitable[bool]) -> object:
    try:
        return await answer
    except Unreachable:
        return Unreachable


async def test_a_server_that_drips_is_cut_off(far: Opener, tmp_path: Path) -> None:
    """Each byte comes within the time of a read; all of them would take twenty times the time of a call."""
    dripped = 0

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dripped
        with suppress(ConnectionError):
            await reader.read(65536)
            writer.write(b"$200\r\n")
            while not reader.at_eof() and dripped < 200:
                writer.write(b"x")
                await writer.drain()
                dripped += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.02)
        writer.close()

    stand_in = await asyncio.start_unix_server(drip, tmp_path / "s")
    one = far("a", f"unix://{tmp_path / 's'}", 0.2)
    with pytest.raises(Unreachable):
        await one.downlink.pull()
    assert 0 < dripped < 150
    await one.close()
    stand_in.close()


async def test_a_client_that_swallows_a_cancellation_does_not_keep_a_task_alive(far: Opener) -> None:
    one = far("a")

    async def swallow(outcome: Exception | None) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if outcome is not None:
                raise outcome from None

    async def go_on(outcome: Exception | None) -> None:
        for _ in range(2):
            with suppress(Unreachable):
                await one.link.call(swallow(outcome))

    for outcome in (None, TimeoutError()):
        task = asyncio.create_task(go_on(outcome))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=2)
        assert task.cancelled()
    await one.close()


async def test_every_call_ends_within_its_budget(far: Opener, tmp_path: Path) -> None:
    """The best of five, as a busy machine only adds."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        one = far("a", f"unix://{tmp_path / 's'}", BUDGET)
        took = []
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(Unreachable):
                await one.downlink.pull()
            took.append(time.monotonic() - began)
        assert min(took) < 2 * BUDGET
        assert one.link.failures == 5
        await one.close()
