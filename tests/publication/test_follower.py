"""How soon a process of a node follows, what it does about what it refuses, and that its loop goes on meanwhile."""

import asyncio
import errno
import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fastpath.publication import Follower, NudgeListener, Publication, Refused, nudge
from fastpath.publication.follower import POLL, Prepare
from fastpath.settings import Endpoint, Model, Settings, encode_settings
from tests.conftest import ROOT
from tests.publication.nodes import NOW, Node, Plane, Ticking, digest, eventually, rows


async def test_a_nudge_is_enough(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    async with node.following(poll=3600):
        assert [found.settings for found in node.taken] == [b"one"]
        await asyncio.to_thread(plane.publisher.publish_changes, b"two", (), [digest(3)])
        await node.until(lambda: len(node.taken) == 2)
    assert node.taken[-1].lookup().find(digest(3), NOW) == -2


async def test_a_look_is_enough_without_a_nudge(plane: Plane, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastpath.publication.folder.nudge", lambda path: 0)
    async with node.following(poll=0.01):
        plane.publisher.publish_all(b"one", rows(10))
        await node.until(lambda: node.taken)
    assert POLL <= 1.0, "with the look's own time that is right within 2 s"


async def test_two_processes_of_a_node_follow_one_folder(plane: Plane, node: Node) -> None:
    other = Node(plane.path, plane.trust)
    async with node.following(), other.following():
        for number in range(1, 6):
            plane.publisher.publish_all(b"%d" % number, rows(number))
            for one in (node, other):
                await one.until(lambda: one.taken and one.taken[-1].settings == b"%d" % number)  # noqa: B023  # awaited here
    assert (node.said, other.said) == ([], [])


async def test_what_is_refused_is_said_once_and_what_was_taken_stays(plane: Plane, node: Node) -> None:
    async with node.following(poll=0.005) as follower:
        first = plane.publisher.publish_all(b"one", rows(10))
        await node.until(lambda: node.taken)
        second = plane.publisher._next(first.settings, first.base, None)
        plane.publisher._writer.commit(plane.signer.seal(second)[:-1] + b"\0")
        await eventually(lambda: node.said)
        for _ in range(5):
            await follower.look(again=True)
        assert node.verifier.refusals["signature"] >= 5
        assert node.said == ["publication not taken: the signature does not hold"]
        plane.publisher.publish_all(b"three", rows(3))
        await node.until(lambda: len(node.taken) == 2)
    assert (follower.version, len(node.said)) == (node.taken[-1].manifest.version, 1)


async def test_an_unfit_one_is_not_made_the_last_one(plane: Plane, node: Node) -> None:
    unfit: set[bytes] = {b"two"}
    node.prepare = choosy(node.prepare, unfit)  # type: ignore[method-assign]
    async with node.following():
        plane.publisher.publish_all(b"one", rows(10))
        await node.until(lambda: node.taken)
        plane.publisher.publish_changes(b"two")
        await eventually(lambda: node.verifier.refusals)
        assert node.verifier.refusals == {"unfit": 1}
        assert node.verifier.accepted.last()[0] == node.taken[-1].manifest.version
    restarted = Node(plane.path, plane.trust)
    restarted.prepare = choosy(restarted.prepare, unfit)  # type: ignore[method-assign]
    async with restarted.following():
        assert [found.settings for found in restarted.taken] == [b"one"], "the one before is there to start from"
        plane.publisher.publish_changes(b"three")
        await restarted.until(lambda: restarted.taken[-1].settings == b"three")


async def test_an_unfit_one_is_tried_again_without_a_nudge(plane: Plane, node: Node) -> None:
    unfit: set[bytes] = {b"two"}
    node.prepare = choosy(node.prepare, unfit)  # type: ignore[method-assign]
    async with node.following(poll=0.005):
        plane.publisher.publish_all(b"one", rows(10))
        await node.until(lambda: node.taken)
        plane.publisher.publish_changes(b"two")
        await eventually(lambda: node.verifier.refusals.get("unfit", 0) > 2)
        unfit.clear()
        await node.until(lambda: node.taken[-1].settings == b"two")
    assert len(node.said) == 1


async def test_what_passes_by_itself_is_wrong_no_more(
    plane: Plane, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    async with node.following(poll=3600) as follower:
        with monkeypatch.context() as patch:
            patch.setattr(node.intake, "take", _fail)
            await follower.look()
            assert follower.problem == "publication not taken: [Errno 24] Too many open files"
        await follower.look()
        assert follower.problem == "", "it has what there is"
        second = plane.publisher.publish_changes(b"two")
        plane.publisher._writer.commit(plane.signer.seal(second)[:-1] + b"\0")
        await follower.look()
        await follower.look()
        assert follower.problem == "publication not taken: the signature does not hold", "as long as that one is there"


def _fail(*, again: bool) -> Publication | None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def choosy(prepare: Prepare, unfit: set[bytes]) -> Any:
    async def judged(publication: Publication) -> Callable[[], None]:
        if publication.settings in unfit:
            raise Refused("unfit", "a setting that this version does not know")
        return await prepare(publication)

    return judged


async def test_a_crash_before_the_swap_leaves_a_version_that_may_be_taken(plane: Plane, node: Node) -> None:
    plane.publisher.publish_all(b"one", rows(10))
    found = node.intake.take()
    assert found is not None
    node.intake.accept(found)  # and then the process dies
    async with Node(plane.path, plane.trust).following() as follower:
        assert follower.version == found.manifest.version


async def test_a_follower_without_a_publication_waits(plane: Plane, node: Node) -> None:
    async with node.following() as follower:
        assert (follower.version, node.said) == (0, [])
        plane.publisher.publish_all(b"one", rows(1))
        await node.until(lambda: node.taken)


# --- nudges -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[NudgeListener]:
    (tmp_path / "n").mkdir(mode=0o700)
    with NudgeListener(tmp_path / "n") as found:
        yield found


async def test_any_number_of_nudges_is_one(listener: NudgeListener, tmp_path: Path) -> None:
    for _ in range(5_000):  # more than its socket holds: the sender does not wait
        nudge(tmp_path / "n")
    assert await listener.wait(10)
    assert not await listener.wait(0.001)


async def test_a_dead_listener_is_forgotten(listener: NudgeListener, tmp_path: Path) -> None:
    room = tmp_path / "n" / "nudges"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(room / "1-dead"))
    assert nudge(tmp_path / "n") == 1
    assert len(list(room.iterdir())) == 1


async def test_nobody_listens(tmp_path: Path) -> None:
    assert nudge(tmp_path) == 0


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir(mode=0o700)
    with NudgeListener(deep) as listener:
        assert nudge(deep) == 1
        assert await listener.wait(10)
    assert not list((deep / "nudges").iterdir())


# --- kill -9, and the size that was promised --------------------------------------------------------------------------


async def test_killed_publishers_leave_whole_publications(tmp_path: Path) -> None:
    """A reader follows while publishers are killed at random points; versions only grow, nothing is damaged."""
    turns = random.Random(3)
    plane = Plane(tmp_path)
    plane.publisher.close()
    node = Node(plane.path, plane.trust)
    async with node.following(poll=0.05):
        for _ in range(12):
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.publication.publishing", str(tmp_path)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
            await asyncio.sleep(turns.random() * 0.05)  # the point at which it dies
            process.kill()
            told = process.stdout.read().split()
            process.wait()
            process.stdout.close()
            last = int(told[-1]) if told else 0
            await node.until(lambda: node.taken and node.taken[-1].manifest.version >= last)  # noqa: B023  # awaited here
    versions = [found.manifest.version for found in node.taken]
    assert versions == sorted(set(versions))
    assert node.verifier.refusals.keys() <= {"missing"}, "a piece may go while a slow reader looks at an old manifest"


def large_settings() -> bytes:
    models = tuple(
        Model(name=f"m{n}", endpoints=tuple(Endpoint(url=f"http://10.0.{n}.{at}:8000/v1") for at in range(10)))
        for n in range(100)
    )
    return encode_settings(Settings(models=models))


async def test_100_000_keys_are_taken_while_the_loop_goes_on(
    plane: Plane, node: Node, record_property: Callable[[str, object], None]
) -> None:
    """Publishing runs in a thread here as it does in the control plane's process; the node's own work is all else."""
    settings, every = large_settings(), rows(100_000)
    loop = asyncio.get_running_loop()
    async with node.following():
        began = loop.time()
        await asyncio.to_thread(plane.publisher.publish_all, settings, every)
        await node.until(lambda: node.taken)
        record_property("publish_to_taken_s", round(loop.time() - began, 3))
    fresh = Node(plane.path, plane.trust)
    async with Ticking() as idle:
        await asyncio.sleep(0.2)
    async with Ticking() as ticking:
        began = loop.time()
        async with fresh.following():
            record_property("taken_s", round(loop.time() - began, 3))
            await asyncio.sleep(0)
    record_property("pause_ms", round(max(ticking.pauses) * 1000, 2))
    record_property("idle_pause_ms", round(max(idle.pauses) * 1000, 2))
    assert fresh.taken[0].lookup().find(digest(99_999), NOW) >= 0
    # The whole work takes 30 ms: on a loop that waited for it there would be few ticks, and one long pause.
    assert len(ticking.pauses) > 5
    assert os.path.getsize(plane.path / fresh.taken[0].manifest.base.name) > 9_000_000


async def test_follower_and_thread_end(plane: Plane, node: Node) -> None:
    with NudgeListener(plane.path) as nudges:
        follower = Follower(node.intake, nudges, node.prepare, node.said.append)
        assert not await follower.start()
        await follower.close()
        with pytest.raises(RuntimeError):
            await follower.look()
