"""A node's end of what it shares with other nodes: the keeper of its parts, and its name among them.

Owns how the settings become a Redis to ask and a name to ask under, and that no worker is told where that Redis is.
Does not own what is asked (`fastpath.shares`). Loaded when configured: it brings the client of Redis. Concurrency: the
supervisor's loop.
"""

import socket
from hashlib import blake2b
from pathlib import Path

import msgspec

from fastpath.observe.metrics import Metrics
from fastpath.process.control import Say
from fastpath.publication.redis import Link
from fastpath.settings import Settings, Shared
from fastpath.settings.private import PrivateFileError, make_private_folder
from fastpath.settings.problem import Problem, SettingsError
from fastpath.shares.keeper import Keeper
from fastpath.shares.redis import Exchange
from scheduler.clock import Clock


def open_link(shared: Shared) -> Link:
    """A way to the Redis of the settings. Nothing is sent before it is used."""
    password = shared.password.reveal() if shared.password is not None else None
    return Link(shared.url, shared.prefix, password=password, ca_file=shared.ca_file)


def open_keeper(settings: Settings, shared: Shared, folder: Path, metrics: Metrics, clock: Clock, say: Say) -> Keeper:
    """The keeper of this node's parts, which begins at once. Raises SettingsError when the folder is of no use."""
    try:
        make_private_folder(folder)
    except PrivateFileError as error:
        raise SettingsError([Problem(0, 0, "state_dir", str(error))], "settings") from None
    name = shared.node or name_node(folder)
    link = open_link(shared)
    keeper = Keeper(metrics.arena, shared.nodes, folder, lambda life: Exchange(link, name, life), clock, say)
    metrics.read("fastpath_shared_failures_total", lambda: {(): keeper.failures})
    metrics.read("fastpath_shared_degraded", lambda: {(): float(bool(keeper.problems()))})
    metrics.read("fastpath_shared_nodes", lambda: {(): keeper.nodes})
    metrics.read("fastpath_shared_part", keeper.held)
    keeper.begin(settings)
    return keeper


def name_node(folder: Path) -> str:
    """The host, and which of its state folders."""
    return f"{socket.gethostname()[:64]}-{blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()}"


def for_workers(settings: Settings) -> Settings:
    """The settings without the way to Redis: that there are other nodes, and how many, is all that workers need."""
    if settings.shared is None:
        return settings
    return msgspec.structs.replace(settings, shared=Shared(nodes=settings.shared.nodes))
