"""What stands where nothing may arrive: model servers of a cloud, and name servers that lie.

Owns sockets outside the gateway's process, and all bytes that came. A trap answers as a model server would, so that a
leak is not mistaken for a failure. One event loop.
"""

import asyncio
import ipaddress
import json
import struct
from collections.abc import Callable
from typing import Any, Self

_TEXT = "It leaked."
_ANSWER = json.dumps({
    "id": "x", "object": "chat.completion", "created": 1, "model": "cloud",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}).encode()  # fmt: skip


class Trap:
    """A server of a cloud, or another that gives one answer. connections: how many came; received: their bytes, one
    behind the other."""

    def __init__(self, answer: bytes = _ANSWER) -> None:
        self._answer = answer
        self.connections = 0
        self.received = bytearray()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int = 0) -> int:
        """Listens; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(self._answer)
        try:
            while data := await reader.read(65536):
                self.received += data
                if data.endswith((b"}", b"\r\n")):
                    writer.write(head + self._answer)
        except OSError:
            pass  # whoever came has gone, and what it said is kept
        finally:
            writer.close()


class Names(asyncio.DatagramProtocol):
    """A name server. answer: from a host to its addresses, asked each time. asked: every name that was."""

    def __init__(self, answer: Callable[[str], list[str]]) -> None:
        self._answer = answer
        self.asked: list[str] = []
        self.port = 0

    @classmethod
    async def start(cls, answer: Callable[[str], list[str]]) -> Self:
        loop = asyncio.get_running_loop()
        transport, names = await loop.create_datagram_endpoint(lambda: cls(answer), local_addr=("127.0.0.1", 0))
        names.port = transport.get_extra_info("sockname")[1]
        return names

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        host, end = _read_name(data)
        (kind,) = struct.unpack_from("!H", data, end)
        if kind == 1:
            self.asked.append(host)
        found = [ipaddress.ip_address(text).packed for text in self._answer(host)] if kind == 1 else []
        records = b"".join(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + packed for packed in found)
        head = data[:2] + b"\x81\x80" + struct.pack("!HHHH", 1, len(found), 0, 0)
        self._transport.sendto(head + data[12 : end + 4] + records, addr)

    def close(self) -> None:
        self._transport.close()


def _read_name(data: bytes) -> tuple[str, int]:
    """The name of the first question, and where its type stands."""
    labels, place = [], 12
    while size := data[place]:
        labels.append(data[place + 1 : place + 1 + size].decode("latin-1"))
        place += size + 1
    return ".".join(labels), place + 1
