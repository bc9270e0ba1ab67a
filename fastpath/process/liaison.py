"""The supervisor's end of `node.sock`: asks the control process of this node how it is, and what was spent before.

Owns one question over one connection, with a time limit. Does not own the form (`fastpath.liaison`). The other end is
believed only when the kernel says that it is the same user's, or root's. Concurrency: the supervisor's loop.
"""

import asyncio
from pathlib import Path

import msgspec

from fastpath.liaison import MOST_LINE, SOCKET, Asked, Told, decode_told, encode, is_ours


class NoAnswer(Exception):
    """The control process did not answer, or not what was asked. The message says why."""


class Liaison:
    """Asks whoever serves in a state folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SOCKET

    async def ask(self, question: Asked, within: float) -> Told:
        """The answer. Raises NoAnswer after `within` seconds, or before."""
        try:
            async with asyncio.timeout(within):
                return await self._ask(question)
        except TimeoutError:
            raise NoAnswer(f"no answer within {within:g} s") from None
        except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
            raise NoAnswer(f"no answer: {getattr(error, 'strerror', None) or type(error).__name__}") from None

    async def _ask(self, question: Asked) -> Told:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=MOST_LINE)
        try:
            if not is_ours(writer.get_extra_info("socket")):
                raise NoAnswer(f"{self._path} is served by another user's process")
            writer.write(encode(question))
            await writer.drain()
            return decode_told(await reader.readline())
        finally:
            writer.close()
