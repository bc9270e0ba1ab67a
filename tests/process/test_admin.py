"""The admin port over a real socket, with a node made up."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from fastpath.process.admin import MAX_CONNECTIONS, AdminServer, host_name
from fastpath.process.listen import open_listener
from fastpath.route.live import LiveEndpoint

DETAIL = {"id": "r1", "phase": "relay", "age_ms": 12.5, "model": "llama", "endpoint": "a", "buffered": 3}

LOAD = LiveEndpoint("llama", "a", {"in_flight": 2.0}, {"sampled_at": -1.5})


class FakeNode:
    workers = 1
    takes_requests = True

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return f"asked for {accept}".encode(), "text/plain; version=0.0.4"

    async def requests(self) -> list[dict[str, Any]]:
        return [DETAIL]

    async def loads(self) -> list[LiveEndpoint] | None:
        return [LOAD] if self.takes_requests else None

    def alive(self) -> int:
        return self.workers

    def ready(self) -> bool:
        return self.takes_requests


class Admin:
    def __init__(self, node: FakeNode, port: int) -> None:
        self.node = node
        self.port = port

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        return await asyncio.to_thread(self._ask, path, method, headers)

    def _ask(self, path: str, method: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body

    async def raw(self, data: bytes, replies: int = 1) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    node = FakeNode()
    listener = open_listener("127.0.0.1", 0, 16, "--admin-port")
    port = listener.getsockname()[1]
    server = AdminServer(node, listener, "gateway.internal")
    await server.start()
    yield Admin(node, port)
    await server.close()


async def test_metrics_are_passed_through_with_their_type(admin: Admin) -> None:
    response, body = await admin.ask("/metrics?name=x", accept="application/openmetrics-text")
    assert (response.status, body) == (200, b"asked for application/openmetrics-text")
    assert response.headers["content-type"] == "text/plain; version=0.0.4"


async def test_requests_in_flight_are_json(admin: Admin) -> None:
    _, body = await admin.ask("/debug/requests")
    assert json.loads(body) == [DETAIL]


async def test_the_load_of_endpoints_is_json_while_a_worker_knows_it(admin: Admin) -> None:
    _, body = await admin.ask("/debug/load")
    assert msgspec.json.decode(body, type=list[LiveEndpoint]) == [LOAD]
    admin.node.takes_requests = False
    assert (await admin.ask("/debug/load"))[0].status == 503


async def test_health_needs_one_worker_and_readiness_all(admin: Admin) -> None:
    assert (await admin.ask("/healthz"))[1] == b'{"status":"ok"}'
    assert (await admin.ask("/readyz"))[0].status == 200
    admin.node.takes_requests = False
    admin.node.workers = 0
    assert (await admin.ask("/healthz"))[0].status == 503
    response, body = await admin.ask("/readyz")
    assert response.status == 503
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
async def test_the_rest_is_an_error_object(admin: Admin, method: str, path: str, status: int) -> None:
    response, body = await admin.ask(path, method)
    assert response.status == status
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert (response.headers["allow"] == "GET") == (status == 405)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8341", "127.0.0.1:1", "127.8.9.1", "[::1]:8341", "gateway.internal:8341", "localhost."],
)
async def test_own_hosts_are_served(admin: Admin, host: str) -> None:
    assert (await admin.ask("/metrics", host=host))[0].status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "", "x@localhost"]
)
async def test_other_hosts_are_refused(admin: Admin, host: str) -> None:
    response, body = await admin.ask("/metrics", host=host)
    assert response.status == 403
    assert json.loads(body)["error"]["code"] == "host_not_allowed"


async def test_the_address_a_connection_reached_is_its_own_host() -> None:
    listener = open_listener("0.0.0.0", 0, 16, "--admin-port")
    server = AdminServer(FakeNode(), listener, "0.0.0.0")
    reply = await server._answer(_request(b"10.1.2.3:8341"), "10.1.2.3")
    other = await server._answer(_request(b"10.1.2.4:8341"), "10.1.2.3")
    assert (reply.status, other.status) == (200, 403)
    listener.close()


def _request(host: bytes) -> Any:
    import h11

    return h11.Request(method="GET", target="/metrics", headers=[("host", host)])


async def test_a_connection_is_kept_for_the_next_request(admin: Admin) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert (await admin.raw(one + one)).count(b"HTTP/1.1 200") == 2


async def test_a_request_with_a_body_is_answered_and_the_connection_closed(admin: Admin) -> None:
    head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n"
    answer = await admin.raw(head + b"x" * 10)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"])
async def test_what_is_not_http_is_a_400(admin: Admin, data: bytes) -> None:
    assert (await admin.raw(data)).startswith(b"HTTP/1.1 400")


async def test_an_endless_head_is_refused(admin: Admin) -> None:
    answer = await admin.raw(b"GET / HTTP/1.1\r\nhost: " + b"x" * 20_000)
    assert answer.startswith(b"HTTP/1.1 431")


async def test_a_silent_crowd_cannot_take_all_connections_for_ever(admin: Admin) -> None:
    crowd = [socket.create_connection(("127.0.0.1", admin.port)) for _ in range(MAX_CONNECTIONS)]
    probe = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    try:
        refused = await admin.raw(probe)
    except ConnectionResetError:
        refused = b""
    assert refused == b""
    for connection in crowd:
        connection.close()
    while True:
        try:
            if await admin.raw(probe):
                break
        except ConnectionResetError:
            continue


def test_host_names_lose_port_brackets_and_case() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("LocalHost.:80") == "localhost"
    assert host_name("") == ""
