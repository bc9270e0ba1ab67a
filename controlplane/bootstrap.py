"""The first admin: made once, by whoever owns the gateway's process on this machine, over a Unix socket.

Owns the socket `control.sock` in the state folder (0600; the kernel says who connects: the same user, or root) and its
protocol: one line of JSON each way. There is no default password and no way over the network. One task a connection.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import func, select

from controlplane.access.admin_keys import insert_admin_key
from controlplane.access.principal import Actor
from controlplane.access.roles import Role
from controlplane.access.shapes import AdminKeyDraft, IssuedAdminKey
from controlplane.audit.tables import AUDIT_ENTRIES
from controlplane.audit.trail import Trail
from controlplane.local_socket import listen_privately
from controlplane.problem import Problem, conflict, invalid
from controlplane.store.errors import StoreError
from fastpath.liaison import is_ours
from fastpath.settings.token import KeyHasher

SOCKET: Final = "control.sock"
PATIENCE: Final = 10.0
"""Seconds that a connection may take to ask."""

_LIMIT: Final = 4096
_ACTOR: Final = Actor("fastpath init")
_FIRST: Final = "admin_key.create"

Say = Callable[[str], None]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `fastpath init` sends: the name of the first admin key."""

    name: str = "admin"


class Answer(msgspec.Struct, frozen=True):
    """What it gets: the key, or why not."""

    token: str = ""
    name: str = ""
    problem: str = ""


async def create_first_admin(trail: Trail, hasher: KeyHasher, ask: Ask) -> IssuedAdminKey:
    """The first admin key. Raises a 409 when there ever was one: the audit trail remembers those that are gone."""
    made = select(func.count()).select_from(AUDIT_ENTRIES).where(AUDIT_ENTRIES.c.action == _FIRST)
    async with trail.change(_ACTOR) as change:
        if (await change.connection.execute(made)).scalar_one():
            raise conflict("The first admin key was made before. Ask an admin for a key of your own.", "initialised")
        return await insert_admin_key(change, hasher, AdminKeyDraft(name=ask.name, role=Role.ADMIN), None)


class InitSocket:
    """Answers `fastpath init`."""

    def __init__(self, folder: Path, trail: Trail, hasher: KeyHasher) -> None:
        self._path = folder / SOCKET
        self._trail = trail
        self._hasher = hasher
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listens. Raises PrivateFileError when another control process does, or the path is something else."""
        self._server = await asyncio.start_unix_server(self._serve, sock=listen_privately(self._path), limit=_LIMIT)

    async def close(self) -> None:
        """Stops listening and removes the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, writer)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
        except (ConnectionError, TimeoutError):
            return  # whoever asked has left, or says nothing
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
            if not is_ours(writer.get_extra_info("socket")):
                return Answer(problem="run `fastpath init` as the user of the control process, or as root")
            ask = msgspec.json.decode(line, type=Ask)
            issued = await create_first_admin(self._trail, self._hasher, ask)
        except (msgspec.DecodeError, ValueError):
            return Answer(problem=invalid("that is not what `fastpath init` sends").message)
        except Problem as problem:
            return Answer(problem=problem.message)
        except StoreError as error:
            return Answer(problem=str(error))
        return Answer(issued.token, issued.admin_key.name)


def ask_control(folder: Path, ask: Ask) -> Answer:
    """What `fastpath init` does: asks the control process whose state is in `folder`. Blocks. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(folder / SOCKET))
        if not is_ours(connection):
            return Answer(problem="another user's process listens there: it would get the key")
        connection.sendall(msgspec.json.encode(ask) + b"\n")
        with connection.makefile("rb") as stream:
            return msgspec.json.decode(stream.readline(), type=Answer)
