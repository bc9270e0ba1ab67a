"""What a node says is wrong with its end of the control plane, and that it says so no longer than it is."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from fastpath.process import plane
from fastpath.process.plane import ControlPlane
from fastpath.publication import Folder, FolderWriter, Trust, make_signer, write_trust
from fastpath.settings import Shared
from fastpath.settings.control import PUBLISHED, TRUSTED
from fastpath.settings.secret import Secret
from scheduler.clock import SystemClock
from tests.process.test_control import until


async def _refuse(policy: object) -> str:
    raise AssertionError(f"nothing is published: {policy}")


async def test_a_successor_of_a_following_node_is_well_once_the_folder_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane, "LOOK_EVERY", 0.02)
    write_trust(tmp_path / TRUSTED, Trust([make_signer(tmp_path).public]))
    said: list[str] = []
    shared = Shared(redis=Secret("redis://127.0.0.1:9"), follow=True)
    node = ControlPlane(None, tmp_path, bytes(32), SystemClock(), said.append, shared)
    predecessor = FolderWriter(Folder(tmp_path / PUBLISHED))
    await node.begin()
    following = asyncio.create_task(node.follow(_refuse))
    try:
        await until(lambda: node.problems())
        assert "publications are not carried between nodes" in node.problems()[0]
        await asyncio.sleep(0.1)  # some tries more
        predecessor.close()
        await until(lambda: not node.problems())
        assert len(said) == 1
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await node.close()
