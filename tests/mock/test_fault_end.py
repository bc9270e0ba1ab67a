"""Every way an answer can end, seen on the wire."""

import asyncio

import pytest

from backends.mock import Fault

HOWS = ["fin", "rst"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("events", [0, 1, 3])
async def test_cut_after_events(mock, chat_of, events, how):
    tap = await mock.send(chat_of(Fault(cut_after=events, how=how), stream=True))
    assert await tap.end() == how
    assert tap.raw.startswith(b"HTTP/1.1 200 OK")
    assert tap.raw.count(b"data: ") == events
    assert not tap.raw.endswith(b"0\r\n\r\n")
    record = (await mock.server.wait_records(1))[0]
    assert (record.closed_by, record.events_sent, record.bytes_sent) == ("server", events, len(tap.raw))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("count", [1, 40, 300])
async def test_cut_at_byte(mock, chat_of, count, stream, how):
    tap = await mock.send(chat_of(Fault(cut_at_byte=count, how=how), stream=stream))
    assert await tap.end() == how
    assert len(tap.raw) == count


@pytest.mark.parametrize("fault", [Fault(cut_after=2, how="stall"), Fault(cut_at_byte=300, how="stall")])
async def test_cut_by_silence(mock, chat_of, fault):
    tap = await mock.send(chat_of(fault, stream=True))
    await tap.until(lambda raw: raw.count(b"data: ") == 2 or len(raw) == 300)
    assert await tap.silent()


@pytest.mark.parametrize(
    ("stall", "events", "head"), [("head", 0, False), (0, 0, True), (1, 1, True), (3, 3, True), ("end", 6, True)]
)
async def test_stall_after(mock, chat_of, stall, events, head):
    tap = await mock.send(chat_of(Fault(stall_after=stall), stream=True))
    if head:
        await tap.until(lambda raw: raw.startswith(b"HTTP/1.1 200") and raw.count(b"data: ") == events)
    assert await tap.silent()
    assert tap.raw.count(b"data: ") == events
    assert b"[DONE]" not in tap.raw
    assert mock.server.running == 1, "a stalled request keeps its slot"
    tap.transport.close()
    record = (await mock.server.wait_records(1))[0]
    assert (record.closed_by, record.events_sent) == ("client", events)
    assert (record.head_sent is not None) == head
    assert mock.server.running == 0


@pytest.mark.parametrize("stall", ["head", 0, 1, "end"])
async def test_stall_of_a_whole_body(mock, chat_of, stall):
    tap = await mock.send(chat_of(Fault(stall_after=stall, chunked=True)))
    if stall != "head":
        await tap.until(lambda raw: raw.endswith(b"\r\n\r\n" if stall == 0 else b"}\r\n"))
    assert await tap.silent()
    assert b"\r\n0\r\n" not in tap.raw


@pytest.mark.parametrize("how", HOWS)
async def test_die_pre_reads_the_body_and_answers_nothing(mock, chat_of, how):
    tap = await mock.send(chat_of(Fault(die="pre", how=how)))
    assert await tap.end() == how
    assert tap.raw == b""
    record = (await mock.server.wait_records(1))[0]
    assert (record.status, record.closed_by, record.charge) == (0, "server", 0)
    assert record.body_length > 0


@pytest.mark.parametrize("how", HOWS)
async def test_die_on_accept(mock, how):
    mock.server.script([Fault(die="accept", how=how)], times=1)
    tap = await mock.connect()
    assert await tap.end() == how
    record = (await mock.server.wait_records(1))[0]
    assert (record.method, record.bytes_sent, record.closed_by) == ("", 0, "server")
    assert (await mock.chat()).status == 200


async def test_die_on_accept_takes_a_kept_connection_too(mock, chat_of, request_of):
    tap = await mock.send(chat_of())
    await tap.until(lambda raw: raw.endswith(b"}"))
    before = tap.raw
    mock.server.script([Fault(die="accept")], times=1)
    tap.transport.write(request_of(chat_of()))
    await tap.end()
    assert tap.raw == before
    assert len(await mock.server.wait_records(2)) == 2


async def test_close_after_a_complete_answer(mock, chat_of):
    tap = await mock.send(chat_of(Fault(close_after=True)))
    assert await tap.end() == "fin"
    assert b"connection:" not in tap.raw
    assert tap.raw.endswith(b"}")
    assert (await mock.server.wait_records(1))[0].closed_by == "done"


@pytest.mark.parametrize("abort", [True, False])
@pytest.mark.parametrize("moment", ["body", "ttft", "stream", "plain"])
async def test_a_client_that_leaves_is_noticed_at_once(mock, chat_of, request_of, moment, abort):
    fault = Fault(ttft=30.0) if moment in ("ttft", "plain") else Fault(rate=1.0)
    request = request_of(chat_of(fault, stream=moment != "plain"))
    tap = await mock.connect()
    tap.transport.write(request[:-1] if moment == "body" else request)
    if moment == "stream":
        await tap.until(lambda raw: b"data: " in raw)
    else:
        while not mock.server.live or (moment != "body" and not mock.server.running):
            await asyncio.sleep(0)
    left = asyncio.get_running_loop().time()
    tap.transport.abort() if abort else tap.transport.close()
    record = (await mock.server.wait_records(1))[0]
    assert record.closed_by == "client"
    assert record.ended - left < 0.05
    assert (mock.server.running, mock.server.live, mock.server.connections) == (0, [], 0)


async def test_a_client_that_leaves_without_having_read_is_noticed(mock, chat_of, request_of):
    tap = await mock.connect()
    tap.transport.pause_reading()
    tap.transport.write(request_of(chat_of(Fault(huge_event=50_000_000), stream=True)))
    while not mock.server.live or mock.server.live[0].events_sent < 1:
        await asyncio.sleep(0)
    tap.transport.write_eof()
    async with asyncio.timeout(30):
        record = (await mock.server.wait_records(1))[0]
    assert record.closed_by == "client"
    tap.transport.abort()


async def test_closing_the_server_breaks_what_runs(mock, chat_of):
    tap = await mock.send(chat_of(Fault(stall_after=1), stream=True))
    await tap.until(lambda raw: b"data: " in raw)
    await mock.server.close()
    await tap.end()
    assert mock.server.records[0].closed_by == "server"


@pytest.mark.parametrize(
    ("fault", "charge"),
    [
        (Fault(), 3 * 10 + 4 * 100),
        (Fault(cut_after=3), 3 * 10 + 2 * 100),
        (Fault(in_band_error=2), 3 * 10 + 1 * 100),
        (Fault(charge=False), 0),
        (Fault(status=500), 0),
        (Fault(status=500, charge=True), 3 * 10),
        (Fault(die="pre"), 0),
        (Fault(die="pre", charge=True), 3 * 10),
        (Fault(usage="zero"), 3 * 10 + 4 * 100),
    ],
)
async def test_charge(start, fault, charge):
    mock = await start(tokens=4, input_price=10, output_price=100)
    await mock.stream(fault)
    assert (await mock.server.wait_records(1))[0].charge == charge


async def test_charge_of_a_cancelled_whole_answer_is_what_was_generated(start, chat_of):
    mock = await start(tokens=100, rate=50.0, input_price=10, output_price=100)
    tap = await mock.send(chat_of())
    assert await tap.silent(0.1)
    tap.transport.abort()
    record = (await mock.server.wait_records(1))[0]
    assert record.tokens == 1 + int((record.ended - record.received) * 50.0)
    assert record.charge == 30 + 100 * record.tokens
