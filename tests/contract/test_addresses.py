"""Whom the gateway takes the caller for: the socket's peer, or what a trusted proxy says."""

from typing import Any

import pytest

V4, V6 = "203.0.113.9", "2001:db8::9"

#: trusted proxies, X-Forwarded-For fields -> the client in the record. The peer of the socket is 127.0.0.1.
TABLE: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    ((), (), "127.0.0.1"),
    ((), (V4,), "127.0.0.1"),
    (("10.0.0.0/8",), (V4,), "127.0.0.1"),
    (("127.0.0.0/8",), (), "127.0.0.1"),
    (("127.0.0.1",), (V4,), V4),
    (("127.0.0.1",), (V6,), V6),
    (("127.0.0.1",), (f"198.51.100.1, {V4}",), V4),
    (("127.0.0.1",), ("198.51.100.1", V4), V4),
    (("127.0.0.1", "10.0.0.0/8"), (f"198.51.100.1, {V4}, 10.1.2.3",), V4),
    (("127.0.0.1", "10.0.0.0/8"), (V4, "10.1.2.3, 10.9.9.9"), V4),
    (("127.0.0.1", "10.0.0.0/8"), ("10.1.2.3",), "10.1.2.3"),
    (("127.0.0.1",), ("nonsense",), "127.0.0.1"),
    (("127.0.0.1", "10.0.0.0/8"), (f"{V4}, nonsense, 10.1.2.3",), "10.1.2.3"),
    (("127.0.0.1",), ("",), "127.0.0.1"),
    (("127.0.0.1",), (f"  {V4}  ",), V4),
    (("127.0.0.1",), (f"::ffff:{V4}",), V4),
    (("127.0.0.1",), ("127.0.0.1; drop table",), "127.0.0.1"),
)


@pytest.mark.parametrize(("trusted", "forwarded", "client"), TABLE)
async def test_client_address(
    open_door: Any, trusted: tuple[str, ...], forwarded: tuple[str, ...], client: str
) -> None:
    door = await open_door(listen={"trusted_proxies": trusted})
    fields = "".join(f"x-forwarded-for: {value}\r\n" for value in forwarded)
    reply = await door.served.ask(f"GET /healthz HTTP/1.1\r\nhost: g\r\n{fields}\r\n".encode())
    assert reply.status == 200
    (record,) = await door.served.records.wait(1)
    assert record.client == client
