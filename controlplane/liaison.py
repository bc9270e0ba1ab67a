"""Answers the supervisor of this node: how this process is, and what was spent before the node counted.

Owns the socket `node.sock` in the state folder (0600; the kernel says who asks: the same user, or root) and what is
answered. Does not own the form (`fastpath.liaison`). One task for each connection, one question on each; a process that
hangs answers nothing, which is the point.
"""

import asyncio
import socket
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.alerts.courier import Courier
from controlplane.alerts.register import Register
from controlplane.ledger.balances import Balance, Period, Subject, balances_of
from controlplane.ledger.tables import QUARTER_MICROS, Level
from controlplane.local_socket import listen_privately
from controlplane.publish.press import Press
from controlplane.registry.scene import Scene
from controlplane.settlement.service import SettlementService
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from controlplane.store.metadata import micros
from fastpath.liaison import (
    MOST_LINE,
    MOST_QUESTIONS,
    SOCKET,
    Declined,
    Noted,
    PulseAsked,
    Question,
    SceneShown,
    SpentAsked,
    SpentTold,
    Told,
    Vitals,
    decode_asked,
    encode,
    is_ours,
)

PATIENCE: Final = 10.0
"""Seconds that a connection may take."""

_LEVELS: Final = {"tenant": Level.TENANT, "team": Level.TEAM, "user": Level.USER, "key": Level.KEY}


class Witness:
    """What is known in this process, put into answers."""

    def __init__(
        self,
        database: Database,
        service: SettlementService,
        press: Press,
        register: Register,
        courier: Courier,
        scene: Scene,
    ) -> None:
        self._database = database
        self._service = service
        self._press = press
        self._register = register
        self._courier = courier
        self.scene = scene

    def vitals(self) -> Vitals:
        """As of now; asks neither database nor disk."""
        figures, sent = self._service.figures(), self._courier.counts
        return Vitals(
            backlog_bytes=figures.backlog_bytes,
            backlog_records=self._service.unbooked,
            outbox_bytes=figures.segment_bytes,
            lag_seconds=figures.lag_seconds,
            records=figures.records,
            transactions=figures.posted,
            quarantined=figures.quarantined,
            lost=figures.lost,
            lost_bound=self._service.losses.bounds,
            lost_unbounded=self._service.losses.unbounded,
            failures=figures.failures,
            publication=self._press.version,
            database_errors=dict(self._database.errors),
            alerts=self._register.count,
            deliveries={"delivered": sent.delivered, "failed": sent.failed, "dead": sent.dead},
            deliveries_waiting=sent.waiting,
        )

    async def spent(self, questions: tuple[Question, ...]) -> Told:
        """All at one moment. Declines while what this node's workers wrote before is not in the books."""
        if not self._service.caught_up:
            return Declined("usage from before is still being settled")
        if len(questions) > MOST_QUESTIONS:
            return Declined(f"more than {MOST_QUESTIONS} questions at once")
        async with self._database.read() as connection:
            return SpentTold(tuple([await _spent(connection, question) for question in questions]))


async def _spent(connection: AsyncConnection, question: Question) -> int:
    subject = Subject(question.tenant, _LEVELS[question.level], question.name)
    start, end = (micros(moment) - micros(moment) % QUARTER_MICROS for moment in (question.start, question.end))
    balances = await balances_of(connection, subject, Period(start, max(start, end)))
    return sum(_of(balance, question) for balance in balances)


def _of(balance: Balance, question: Question) -> int:
    if question.unit == "tokens":
        return balance.input_tokens + balance.output_tokens
    return balance.charge if balance.currency == question.currency else 0


class NodeSocket:
    """Answers over the Unix socket."""

    def __init__(self, folder: Path, witness: Witness) -> None:
        self._path = folder / SOCKET
        self._witness = witness
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listens. Raises PrivateFileError when another control process does, or the path is something else."""
        listener: socket.socket = listen_privately(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MOST_LINE)

    async def close(self) -> None:
        """Stops listening and removes the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                if is_ours(writer.get_extra_info("socket")):
                    writer.write(encode(await self._answer(await reader.readline())))
                    await writer.drain()
        except (ConnectionError, TimeoutError, ValueError):
            return  # whoever asked has left, says nothing, or too much
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Told:
        try:
            asked = decode_asked(line)
            if isinstance(asked, PulseAsked):
                return self._witness.vitals()
            if isinstance(asked, SceneShown):
                self._witness.scene.show(asked)
                return Noted()
            assert isinstance(asked, SpentAsked)
            return await self._witness.spent(asked.questions)
        except (msgspec.DecodeError, OverflowError, ValueError):
            return Declined("that is no question that this version knows")
        except StoreError as error:
            return Declined(f"the ledger cannot be read: {error}")
