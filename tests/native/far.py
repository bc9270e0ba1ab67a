"""The server's end of a TLS connection, by hand: what it says are bytes, which a test sends when and how it likes."""

import asyncio
import datetime
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trustme

from tests.native.conftest import PATIENCE, Noting, Peer

NAME = "model.test"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class House:
    """An authority, a server of it, and a client that trusts it."""

    def __init__(self) -> None:
        self.authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.client = ssl.create_default_context()
        self.authority.configure_trust(self.client)
        self.server = self.context(NAME)

    def context(self, *names: str, **more: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names, key_type=trustme.KeyType.ECDSA, **more).configure_cert(context)
        return context

    def expired(self) -> ssl.SSLContext:
        return self.context(NAME, not_before=LONG_AGO, not_after=LONG_AGO + datetime.timedelta(days=1))


class Far:
    """Speaks TLS over a plain socket. `heard` is what it decrypted so far; `parted`, that our close_notify came."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.heard = bytearray()
        self.parted = False

    async def shake(self, cut: bool = False) -> None:
        """cut: byte by byte. Raises ssl.SSLError with the alert that the client gave."""
        while True:
            try:
                self.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._send_all(cut)
                data = await self.peer.some()
                assert data, "the client left"
                self.incoming.write(data)
        await self._send_all(cut)  # session tickets, in TLS 1.3

    def seal(self, data: bytes, piece: int = 16384) -> bytes:
        """Records of so many bytes of plaintext each."""
        for at in range(0, len(data), piece):
            self.session.write(data[at : at + piece])
        return self.outgoing.read()

    def part(self) -> bytes:
        """A close_notify."""
        try:
            self.session.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    async def hear(self, size: int) -> bytes:
        """That many bytes of plaintext."""
        while len(self.heard) < size:
            assert await self._listen(), f"it ended after {len(self.heard)} of {size} bytes"
        found = bytes(self.heard[:size])
        del self.heard[:size]
        return found

    async def hear_out(self) -> bytes:
        """All plaintext until the end. Raises ssl.SSLError with an alert."""
        while await self._listen():
            pass
        return bytes(self.heard)

    async def _send_all(self, cut: bool) -> None:
        data = self.outgoing.read()
        for at in range(0, len(data), 1 if cut else 1 << 20):
            await self.peer.send(data[at : at + 1] if cut else data)
            await asyncio.sleep(0)

    async def _listen(self) -> bool:
        data = await self.peer.some()
        self.incoming.write(data)
        try:
            while piece := self.session.read(1 << 16):
                self.heard += piece
            self.parted = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.parted = True
        return bool(data)


Connect = Callable[..., Awaitable[tuple[Any, Noting, Far]]]


class Program:
    """`openssl s_server`, which knows words that the ssl module does not: k, K (key updates), r (another handshake)."""

    def __init__(self, folder: Path, house: House, *flags: str) -> None:
        files = [folder / "key.pem", folder / "chain.pem"]
        made = house.authority.issue_cert(NAME, key_type=trustme.KeyType.ECDSA)
        made.private_key_pem.write_to_path(str(files[0]))
        made.cert_chain_pems[0].write_to_path(str(files[1]))
        where = ["-accept", "127.0.0.1:0", "-naccept", "1", "-key", str(files[0]), "-cert", str(files[1])]
        self.process = subprocess.Popen(
            ["openssl", "s_server", *where, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.said = b""

    async def port(self) -> int:
        said = await self.until(b"ACCEPT 127.0.0.1:")
        return int(said.rpartition(b"ACCEPT 127.0.0.1:")[2].split()[0])

    async def until(self, words: bytes) -> bytes:
        """What it printed since the last time, as soon as a whole line has these words."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while words not in self.said or not self.said.endswith(b"\n"):
                line = await asyncio.to_thread(self.process.stdout.readline)
                assert line, self.said
                self.said += line
        said, self.said = self.said, b""
        return said

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
