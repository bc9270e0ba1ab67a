"""PROXY headers: the parser by table and at every cut, the front through a real door."""

import asyncio
import struct
from typing import Any

import pytest

from fastpath.app import Gateway
from fastpath.door.proxy_protocol import V2_SIGNATURE, BadProxyHeader, read_header
from fastpath.settings import Endpoint, Listen, Model, Settings

V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 4000 80\r\n"
V2 = V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12) + bytes([203, 0, 113, 7, 10, 0, 0, 1]) + b"\x0f\xa0\x00\x50"
V2_LOCAL = V2_SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
V2_SIX = V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x21, 39) + bytes(15) + b"\1" + bytes(16) + bytes(4) + b"tlv"


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (V1, "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4000 80\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN anything at all\r\n", None),
        (V2, "203.0.113.7"),
        (V2_LOCAL, None),
        (V2_SIX, "::1"),
    ],
)
def test_headers(header: bytes, address: str | None) -> None:
    assert read_header(header + b"GET /") == (len(header), address)
    for cut in range(len(header)):
        assert read_header(header[:cut]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 nowhere 1.2.3.4 1 2\r\n",
        b"PROXY " + b"x" * 200,
        V2_SIGNATURE + struct.pack("!BBH", 0x31, 0x11, 12) + bytes(12),
        V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 4) + bytes(4),
        V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 9000),
    ],
)
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        read_header(data)


class Kept:
    """Records as they come."""

    written = dropped = 0

    def __init__(self) -> None:
        self.clients: list[str] = []

    def put(self, record: Any) -> None:
        self.clients.append(record.client)

    def kick(self) -> None: ...

    def close(self, timeout: float) -> None: ...


def settings(trusted: tuple[str, ...]) -> Settings:
    listen = Listen(port=0, proxy_protocol=True, trusted_proxies=trusted)
    return Settings(listen=listen, models=(Model(name="m", endpoints=(Endpoint(url="http://127.0.0.1:9/v1"),)),))


@pytest.mark.parametrize("header", [V1, V2])
async def test_the_caller_of_a_proxied_connection_is_known(header: bytes) -> None:
    kept = Kept()
    async with Gateway(settings(("127.0.0.0/8",)), kept) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.split(":")[2].split("/")[0]))
        writer.write(header + b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert kept.clients == ["203.0.113.7"]


@pytest.mark.parametrize(("trusted", "first"), [((), V1), (("127.0.0.0/8",), b"")])
async def test_strangers_and_missing_headers_are_cut_off(trusted: tuple[str, ...], first: bytes) -> None:
    kept = Kept()
    async with Gateway(settings(trusted), kept) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.split(":")[2].split("/")[0]))
        writer.write(first + b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
        assert answer == b""
        writer.close()
    assert kept.clients == []
