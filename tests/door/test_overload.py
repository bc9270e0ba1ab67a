"""The native door when more come than can be served: what they hear, and who is served all the same."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest

from _native.transport import Poller
from fastpath.door.accept import STANDS
from fastpath.door.overload import PLACE
from tests.door.conftest import HEAD, Caller, Front, OpenFront, until

AGES = 1e9


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    """Ours: on the loop's own transports nobody is turned away."""
    poller = Poller(asyncio.get_running_loop())
    yield poller
    poller.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four are taken in a turn of an overload, and the rest turned away, however quick this machine is."""
    monkeypatch.setattr("fastpath.door.accept.SLICE", 0.0)
    monkeypatch.setattr("fastpath.door.accept.PATIENCE", 0.0)


def overload(front: Front) -> None:
    """It is one, and no look will end it."""
    found = front.door._acceptor._intake.overload
    found.note(1.0, 0, 0, 99)
    found.note(1.0 + AGES, 0, 0, 99)
    assert found.active


async def crowd(front: Front, data: bytes, count: int = 200) -> list[Caller]:
    """So many who come at once with this request."""
    front.door._acceptor.pause()
    callers = [await front.call() for _ in range(count)]
    for caller in callers:
        caller.send(data)
    front.door._acceptor.resume()
    return callers


async def statuses(callers: list[Caller]) -> dict[int, list[bytes]]:
    """Whole answers by status; those that are served are on connections that stay."""
    found: dict[int, list[bytes]] = {200: [], 503: []}
    for caller in callers:
        head = await caller.head()
        status = int(head[9:12])
        found[status].append(head + (await caller.rest() if status == 503 else b""))
    return found


def parsed(answer: bytes) -> tuple[dict[str, str], bytes]:
    """Fields and body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]), body


async def test_they_hear_503_overloaded_at_once_and_are_recorded(open_front: OpenFront) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    front = await open_front(listener, backlog=512)
    overload(front)
    found = await statuses(await crowd(front, HEAD))
    assert found[200]
    assert found[503]
    for answer in found[503]:
        fields, body = parsed(answer)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\ndate: ")
        assert int(fields["content-length"]) == len(body)
        assert (fields["retry-after"], fields["connection"]) == ("1", "close")
        assert fields["content-type"] == "application/json"
        error = json.loads(body)["error"]
        assert (error["code"], error["type"], error["param"]) == ("overloaded", "server_error", None)
    ids = [parsed(answer)[0]["x-request-id"] for answer in found[503]]
    assert sorted(ids) == sorted(request_id for request_id, _ in front.shed)
    assert len(set(ids)) == len(ids)
    assert PLACE not in ids
    assert {peer for _, peer in front.shed} == {"127.0.0.1"}
    assert len(front.peers) == len(found[200])


async def test_messages_have_their_own_shape(open_front: OpenFront) -> None:
    front = await open_front()
    overload(front)
    request = b"POST /v1/messages HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n"
    found = await statuses(await crowd(front, request, 100))
    for answer in found[503]:
        fields, body = parsed(answer)
        told = json.loads(body)
        assert told["error"]["type"] == "overloaded_error"
        assert told["request_id"] == fields["x-request-id"]
    assert found[503]


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz"])
async def test_health_is_answered(open_front: OpenFront, path: bytes) -> None:
    front = await open_front()
    overload(front)
    found = await statuses(await crowd(front, b"GET %b HTTP/1.1\r\nhost: g\r\n\r\n" % path, 100))
    assert len(found[200]) == 100
    assert not front.shed


async def test_who_is_connected_is_served_on(open_front: OpenFront) -> None:
    front = await open_front()
    kept = await front.call()
    await kept.ask()
    overload(front)
    found = await statuses(await crowd(front, HEAD, 100))
    assert found[503]
    for _ in range(20):
        assert (await kept.ask()).startswith(b"HTTP/1.1 200")


async def test_who_sends_a_large_body_reads_the_answer(open_front: OpenFront) -> None:
    """They are still sending when they are turned away; the rest is taken and thrown away until they stop."""
    front = await open_front()
    overload(front)
    request = b"POST / HTTP/1.1\r\nhost: g\r\ncontent-length: %d\r\n\r\n" % (1 << 20)
    callers = await crowd(front, request + bytes(20_000), 100)
    await until(lambda: front.shed)
    for caller in callers:
        caller.send(bytes(20_000))
    heads = [await caller.head() for caller in callers]
    assert len([head for head in heads if head.startswith(b"HTTP/1.1 503")]) == len(front.shed)


async def test_it_ends_with_the_tick(open_front: OpenFront) -> None:
    front = await open_front()
    found = front.door._acceptor._intake.overload
    now = asyncio.get_running_loop().time()
    found.note(now - AGES, 0, 0, 99)
    found.note(now - STANDS, 0, 0, 99)
    assert found.active

    def over() -> bool:
        front.tick()
        return not found.active

    await until(over)
    assert len((await statuses(await crowd(front, HEAD, 100)))[200]) == 100


async def test_without_someone_to_record_it_nobody_is_turned_away(open_front: OpenFront) -> None:
    front = await open_front()
    front.door._shed = None
    front.door._acceptor._intake.set_answers((), ())
    for at in (1.0, 2.0, 3.0):
        front.door._acceptor._intake.overload.note(at, 0, 0, 0)
    assert len((await statuses(await crowd(front, HEAD, 100)))[200]) == 100
