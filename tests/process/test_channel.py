"""Framing: messages arrive whole however they are cut, and nothing else is believed."""

import socket

import msgspec
import pytest

from fastpath.process.channel import (
    MAX_MESSAGE,
    Attach,
    Channel,
    ChannelError,
    Configure,
    Configured,
    Debug,
    DebugRequest,
    Drain,
    LoadRequest,
    Loads,
    Pulse,
    PulseRequest,
    Ready,
    ToSupervisor,
    ToWorker,
    open_supervisor_end,
    open_worker_end,
)
from fastpath.route.live import LiveEndpoint

TO_WORKER = [
    Configure(1, b"\x00settings"),
    PulseRequest(2),
    DebugRequest(3),
    Drain(1.5),
    Attach(b"secret", None),
    LoadRequest(4),
]
TO_SUPERVISOR = [
    Configured(1, ok=False, problem="why"),
    Ready(),
    Pulse(2, True),
    Debug(3, [{"id": "a", "age_ms": 1.5, "endpoint": None}]),
    Loads(4, [LiveEndpoint("llama", "a", {"queued": 1.5}, {"out_until": 2.5})]),
]


async def _pair() -> tuple[Channel[ToSupervisor, ToWorker], Channel[ToWorker, ToSupervisor]]:
    ours, theirs = socket.socketpair()
    return await open_supervisor_end(ours), await open_worker_end(theirs)


async def _after(data: bytes) -> Channel[ToWorker, ToSupervisor]:
    """A worker's end whose peer sent `data` and died."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(data)
    return await open_worker_end(theirs)


def _frame(message: ToWorker) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "little") + data


async def test_every_message_arrives_as_it_was_sent() -> None:
    supervisor, worker = await _pair()
    for down in TO_WORKER:
        supervisor.send(down)
    for up in TO_SUPERVISOR:
        worker.send(up)
    assert [await worker.receive() for _ in TO_WORKER] == TO_WORKER
    assert [await supervisor.receive() for _ in TO_SUPERVISOR] == TO_SUPERVISOR
    await supervisor.close()
    assert await worker.receive() is None
    await worker.close()


async def test_a_large_message_arrives_whole() -> None:
    supervisor, worker = await _pair()
    settings = bytes(range(256)) * 20_000
    supervisor.send(Configure(1, settings))
    assert await worker.receive() == Configure(1, settings)
    await supervisor.close()
    await worker.close()


async def test_a_stream_cut_at_any_byte_gives_whole_messages_or_the_end() -> None:
    data = _frame(TO_WORKER[0]) + _frame(TO_WORKER[3])
    first = len(_frame(TO_WORKER[0]))
    for cut in range(len(data)):
        channel = await _after(data[:cut])
        expected = TO_WORKER[0] if cut >= first else None
        assert await channel.receive() == expected
        assert await channel.receive() is None
        await channel.close()


@pytest.mark.parametrize(
    "data",
    [
        (5).to_bytes(4, "little") + b"\xc1\xc1\xc1\xc1\xc1",
        (1).to_bytes(4, "little") + b"\x80",
        _frame(TO_WORKER[3]).replace(b"Drain", b"Drift"),
        (MAX_MESSAGE + 1).to_bytes(4, "little"),
        b"\xff\xff\xff\xff",
    ],
)
async def test_what_is_no_message_is_an_error(data: bytes) -> None:
    channel = await _after(data)
    with pytest.raises(ChannelError):
        await channel.receive()
    await channel.close()


async def test_an_oversized_message_is_not_sent() -> None:
    supervisor, worker = await _pair()
    with pytest.raises(ChannelError, match="over the limit"):
        supervisor.send(Configure(1, bytes(MAX_MESSAGE)))
    supervisor.send(Drain(0))
    assert await worker.receive() == Drain(0)
    await supervisor.close()
    await worker.close()


async def test_sending_to_a_dead_peer_is_no_error() -> None:
    supervisor, worker = await _pair()
    await worker.close()
    assert await supervisor.receive() is None
    supervisor.send(Drain(0))
    await supervisor.close()
