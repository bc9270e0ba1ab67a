"""Carries publications between this node's folder and Redis: up where a control plane publishes, down where one
follows.

Owns which of the two a node does, and that it begins only when it is known whose publications to trust. Does not own
how (`fastpath.publication.redis`). Loaded when configured. Concurrency: tasks on the supervisor's loop.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from fastpath.process.control import Say
from fastpath.process.shares import open_link
from fastpath.publication import Accepted, Folder, FolderWriter, Trust, Verifier, read_trust
from fastpath.publication.redis import Downlink, Link, Uplink
from fastpath.settings import Shared
from fastpath.settings.control import PUBLISHED, TRUSTED

LOOK_EVERY: Final = 0.25


async def carry(
    shared: Shared, folder: Path, pepper_id: str, say: Say, begun: Callable[[], None], *, publishes: bool
) -> None:
    """Until it is cancelled; calls `begun` when the folder is its own.

    Raises PublicationError or OSError when the state folder cannot be used.
    """
    told = publishes  # there the first control process has yet to say who signs
    while (trust := await asyncio.to_thread(read_trust, folder / TRUSTED)) is None:
        if not told:
            told = True
            say(f"no keys are taken from Redis yet: copy {TRUSTED} of the node that publishes to {folder}")
        await asyncio.sleep(LOOK_EVERY)
    link = open_link(shared)
    try:
        if publishes:
            begun()
            await _carry_up(link, Folder(folder / PUBLISHED), trust, say)
        else:
            await _carry_down(link, Folder(folder / PUBLISHED), trust, pepper_id, say, begun)
    finally:
        await link.close()


async def _carry_up(link: Link, folder: Folder, trust: Trust, say: Say) -> None:
    await Uplink(link, folder, trust, say).run(LOOK_EVERY)


async def _carry_down(
    link: Link, folder: Folder, trust: Trust, pepper_id: str, say: Say, begun: Callable[[], None]
) -> None:
    verifier = Verifier(trust, pepper_id, Accepted(folder.path))
    with closing(await asyncio.to_thread(FolderWriter, folder)) as writer:
        begun()
        await Downlink(link, writer, verifier, say).run()
