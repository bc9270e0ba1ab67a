"""Which front door a gateway under test has: asked for by name, and seen to be that one.

Owns the list of doors and the two ways to see one: in this process by its class, in another by who polls its socket. A
test that asks for a door and is given another must fail, not pass twice on the same one. Concurrency: none.
"""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from fastpath.app import Gateway
from fastpath.settings import Settings
from loadtest.rig.bench import Bench, Served
from loadtest.rig.conversation import PATIENCE
from scheduler.clock import Clock

#: Every door that carries an Exchange. A new one joins by its name here.
DOORS: Final = ("granian", "native")

_CLASSES: Final = {"granian": "GranianDoor", "native": "NativeDoor"}


class DoorBench(Bench):
    """A bench whose gateways have one door, unless their settings name another."""

    def __init__(self, door: str) -> None:
        super().__init__()
        self.door = door

    async def serve(self, settings: Settings, clock: Clock | None = None) -> Served:
        if settings.listen.door == "auto":
            listen = msgspec.structs.replace(settings.listen, door=self.door)
            settings = msgspec.structs.replace(settings, listen=listen)
        served = await super().serve(settings, clock)
        assert door_of(served.gateway) == settings.listen.door
        return served


def door_of(gateway: Gateway) -> str:
    """The door of a running gateway in this process."""
    assert gateway.app is not None
    kind = type(gateway.app._door).__name__
    return next(name for name, class_name in _CLASSES.items() if class_name == kind)


def doors_of(pids: Iterable[int]) -> set[str]:
    """The doors of worker processes that accept on their supervisor's socket. AssertionError when one does not.

    Seen from outside and without a request, so that no log or counter shows it: Granian's runtime polls the listening
    socket itself, the native door polls it under the worker's loop, which polls the channel to the supervisor.
    """
    return {_door_of_process(Path(f"/proc/{pid}")) for pid in pids}


def _door_of_process(process: Path) -> str:
    # A worker says that it is ready in the turn of its loop after which the kernel hears of the listening socket.
    end = time.monotonic() + PATIENCE
    while (door := _polling_door(process)) is None:
        assert time.monotonic() < end, "it does not accept"
        time.sleep(0.01)
    return door


def _polling_door(process: Path) -> str | None:
    arguments = (process / "cmdline").read_text().split("\0")
    listener, channel = (_inode_of(process, arguments, name) for name in ("--listen-fd", "--channel-fd"))
    polls = {poll.name: _polled(poll) for poll in _event_polls(process)}
    with_listener = {name for name, (_, inodes) in polls.items() if listener in inodes}
    # Every worker has an event poll of ours, which the loop's own watches as one descriptor once it has turned.
    under_loop = {fd for numbers, inodes in polls.values() if channel in inodes for fd in numbers} & polls.keys()
    if not with_listener or not under_loop:
        return None
    return "native" if with_listener & under_loop else "granian"


def _inode_of(process: Path, arguments: list[str], name: str) -> str:
    number = arguments[arguments.index(name) + 1]
    return (process / "fd" / number).readlink().name.removeprefix("socket:[").removesuffix("]")


def _event_polls(process: Path) -> list[Path]:
    """The fdinfo files of its event polls."""
    found = (fd for fd in (process / "fd").iterdir() if fd.readlink().name == "anon_inode:[eventpoll]")
    return [process / "fdinfo" / fd.name for fd in found]


def _polled(poll: Path) -> tuple[set[str], set[str]]:
    """The descriptors that an event poll watches, and their inodes, which are hexadecimal in the kernel's text."""
    text = poll.read_text()
    return set(re.findall(r"\btfd:\s*(\d+)", text)), {str(int(n, 16)) for n in re.findall(r"\bino:([0-9a-f]+)", text)}
