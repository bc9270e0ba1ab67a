"""The fault matrix on real sockets: model servers that die, fall silent or are slow (rows F01, F02, F03, F05, F06).

Every test builds a gateway with short waits before one, two or three mocks; the first URL is always asked first.
The other rows: broken answers (F10-F13) in `test_answers`, slow ways (F14, F15) in `test_slow_ways`, leaving callers
(F09) in `test_leaving`, sick servers (F04, F07, F08, F42, F49) in `test_sick_servers` and `test_moving`, DNS (F16) in
`test_dns`, TLS (F17) in `test_tls`; of processes: memory (F35) in `test_memory`, a stopped worker (F36) in
`test_stopped`, upgrades (F37) in `test_upgrade`, poison (F44) in `test_poison`, signals (F52) in `test_signals`.
`test_meta` counts all of them.
"""

import asyncio
import signal
import time
from typing import Any

import pytest

from backends.mock import Fault
from fastpath.settings import Endpoint, Model, Retries, Settings
from fastpath.settings.secret import Secret
from loadtest.faultd import Cut
from loadtest.rig import Bench, assert_broken, assert_complete, assert_refused, chat, post
from loadtest.rig.bench import make_settings

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
endings = pytest.mark.parametrize("how", ["fin", "rst"])


# -- F01 the model server dies in the middle of a stream


@endings
@pytest.mark.parametrize("events", [1, 3, 5])
async def test_F01_upstream_dies_mid_stream(bench: Bench, how: Any, events: int) -> None:
    served, first, second = await bench.pair(Fault(cut_after=events, how=how, rate=100.0))
    client = await served.open()
    client.send(chat(stream=True))
    reply = await client.reply()
    assert_broken(reply, "upstream_disconnected", events)
    (seen,) = await first.server.wait_records(1)
    assert reply.text == seen.content.get(0, "")
    assert client.reads[-1][0] - seen.event_times[-1] < 0.1
    assert second.asked == 0, "nothing is retried after a content byte"
    (record,) = served.records.all
    assert (record.status, record.outcome, record.error, record.attempts) == (200, "broken", "upstream_disconnected", 1)
    assert (record.events, record.output_tokens, record.estimated) == (events, events, True)
    client.leave()


async def test_F01_killed_process(bench: Bench, mock_process: Any) -> None:
    mock = mock_process("--model", "llama", "--rate", "100", "--tokens", "1000")
    served = await bench.serve(with_key(mock))
    client = await served.open()
    client.send(chat(stream=True))
    await client.events(5)
    mock.process.send_signal(signal.SIGKILL)
    killed = asyncio.get_running_loop().time()
    reply = await client.reply()
    assert_broken(reply, "upstream_disconnected")
    assert client.reads[-1][0] - killed < 0.1
    client.leave()


async def test_F01_connection_is_kept_for_the_caller(bench: Bench) -> None:
    """The end of a broken stream is a whole HTTP message: the caller's connection goes on."""
    served, _, _ = await bench.pair(Fault(cut_after=2), Fault())
    client = await served.open()
    assert_broken(await client.ask(chat(stream=True)), "upstream_disconnected", 2)
    assert_complete(await client.ask(chat(stream=True)), stream=True)
    client.leave()


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
async def test_F01_other_dialects_break_in_their_own_shape(bench: Bench, path: str) -> None:
    served, _, second = await bench.pair(Fault(cut_after=3, rate=100.0))
    body: dict[str, Any] = {"model": "llama", "stream": True, "max_tokens": 50}
    text = {"input": "hi"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "hi"}]}
    reply = await served.ask(post(body | text, path))
    assert reply.whole
    assert b"event: error\n" in reply.body
    assert reply.frames[-1]["type"] == "error"
    numbers = [frame["sequence_number"] for frame in reply.frames if "sequence_number" in frame]
    assert numbers == sorted(set(numbers))
    assert b"completed" not in reply.body
    assert b"message_stop" not in reply.body
    assert second.asked == 0


# -- F02 the model server dies before the first byte


@both
@endings
@pytest.mark.parametrize("moment", ["accept", "pre"])
async def test_F02_upstream_dies_before_the_first_byte(bench: Bench, how: Any, moment: Any, stream: bool) -> None:
    served, first, second = await bench.pair(Fault(die=moment, how=how))
    assert_complete(await served.ask(chat(stream=stream)), stream)
    assert (first.asked, second.asked) == (1, 1)
    (record,) = await served.records.wait(1)
    assert (record.status, record.attempts, record.outcome) == (200, 2, "complete")


@both
async def test_F02_at_most_two_retries(bench: Bench, stream: bool) -> None:
    mocks = [await bench.mock() for _ in range(4)]
    for mock in mocks:
        mock.script(Fault(die="pre"))
    served = await bench.gateway(*(mock.url for mock in mocks))
    assert_refused(await served.ask(chat(stream=stream)), 502, "upstream_error")
    assert sum(mock.asked for mock in mocks) == 3


@both
async def test_F02_without_an_alternative(bench: Bench, stream: bool) -> None:
    served, first = await bench.single(Fault(die="pre"))
    assert_refused(await served.ask(chat(stream=stream)), 502, "upstream_error")
    assert first.asked == 1
    (record,) = await served.records.wait(1)
    assert (record.status, record.outcome, record.error) == (502, "error", "upstream_error")


@both
async def test_F02_a_kept_connection_that_died_is_replaced_unseen(bench: Bench, stream: bool) -> None:
    """The keep-alive race: closed behind a whole answer. One endpoint and no retry budget are enough."""
    served, _ = await bench.single(Fault(close_after=True), retries=Retries(attempts=0))
    for _ in range(5):
        assert_complete(await served.ask(chat(stream=stream)), stream)
    assert {record.attempts for record in served.records.all} == {1}


# -- F03 half-open: the peer is there no more and nobody said so


@pytest.mark.alone
async def test_F03_silence_mid_stream(bench: Bench) -> None:
    served, _, second = await bench.pair(Fault(stall_after=3), timeouts={"idle": 0.5})
    started = time.monotonic()
    assert_broken(await served.ask(chat(stream=True)), "stream_timeout", 3)
    assert 0.5 <= time.monotonic() - started < 1.5
    assert second.asked == 0


@pytest.mark.alone
async def test_F03_comments_are_no_progress(bench: Bench) -> None:
    served, _, _ = await bench.pair(Fault(stall_after=3, comment_every=0.05), timeouts={"idle": 0.5})
    started = time.monotonic()
    assert_broken(await served.ask(chat(stream=True)), "stream_timeout", 3)
    assert time.monotonic() - started < 1.5


@both
async def test_F03_silence_before_the_head(bench: Bench, stream: bool) -> None:
    served, first, second = await bench.pair(Fault(stall_after="head"), timeouts={"first_byte": 0.3})
    assert_complete(await served.ask(chat(stream=stream)), stream)
    assert (first.asked, second.asked) == (1, 1)
    (seen,) = await first.server.wait_records(1)
    assert seen.closed_by == "client"


async def test_F03_silence_after_the_head(bench: Bench) -> None:
    """Nothing was delivered yet, so another endpoint may answer."""
    served, _, _ = await bench.pair(Fault(stall_after=0, early_head=True), timeouts={"idle": 0.3, "first_byte": 0.3})
    assert_complete(await served.ask(chat(stream=True)), stream=True)


@both
async def test_F03_silence_without_an_alternative(bench: Bench, stream: bool) -> None:
    served, _ = await bench.single(Fault(stall_after="head"), timeouts={"first_byte": 0.3})
    assert_refused(await served.ask(chat(stream=stream)), 504, "upstream_timeout")


@both
async def test_F03_frozen_process(bench: Bench, mock_process: Any, stream: bool) -> None:
    """SIGSTOP: the kernel still accepts and acknowledges, nobody answers."""
    mock, second = mock_process("--model", "llama"), await bench.mock()
    settings = with_key(mock, second.url, first_byte=0.4)
    served = await bench.serve(settings)
    mock.process.send_signal(signal.SIGSTOP)
    try:
        assert_complete(await served.ask(chat(stream=stream)), stream)
    finally:
        mock.process.send_signal(signal.SIGCONT)
    assert second.asked == 1


async def test_F03_frozen_behind_a_proxy(bench: Bench) -> None:
    upstream = await bench.mock(rate=100.0, tokens=50)
    proxy, port = await bench.proxy(upstream.port)
    proxy.set_rules([Cut(after_events=4, how="stall")])
    served = await bench.gateway(f"http://127.0.0.1:{port}/v1", timeouts={"idle": 0.4})
    assert_broken(await served.ask(chat(stream=True)), "stream_timeout")


# -- F05 a slow first token


async def test_F05_a_slow_first_token_is_waited_for_with_comments(bench: Bench) -> None:
    served, _ = await bench.single(Fault(ttft=1.0), timeouts={"comment_after": 0.3, "first_byte": 3.0})
    client = await served.open()
    client.send(chat(stream=True))
    reply = await client.reply()
    assert_complete(reply, stream=True)
    assert 2 <= reply.body.count(b": keep-alive\n\n") <= 4
    assert reply.body.startswith(b": keep-alive\n\n")
    client.leave()


async def test_F05_after_comments_the_end_is_in_band(bench: Bench) -> None:
    served, _ = await bench.single(Fault(ttft=60.0), timeouts={"comment_after": 0.2, "first_byte": 0.6})
    reply = await served.ask(chat(stream=True))
    assert_broken(reply, "upstream_timeout", 0)
    assert reply.body.startswith(b": keep-alive\n\n")
    (record,) = await served.records.wait(1)
    assert (record.status, record.outcome, record.error) == (200, "error", "upstream_timeout")


@both
async def test_F05_before_any_comment_the_end_is_504(bench: Bench, stream: bool) -> None:
    served, upstream = await bench.single(Fault(ttft=60.0), timeouts={"first_byte": 0.3})
    assert_refused(await served.ask(chat(stream=stream)), 504, "upstream_timeout")
    (seen,) = await upstream.server.wait_records(1)
    assert seen.closed_by == "client"


async def test_F05_a_comment_is_no_content_so_another_endpoint_may_answer(bench: Bench) -> None:
    served, _, _ = await bench.pair(Fault(ttft=60.0), timeouts={"comment_after": 0.2, "first_byte": 0.6})
    reply = await served.ask(chat(stream=True))
    assert reply.body.startswith(b": keep-alive\n\n")
    assert_complete(reply, stream=True)


async def test_F05_a_whole_answer_gets_no_comments(bench: Bench) -> None:
    served, _ = await bench.single(Fault(ttft=0.5), timeouts={"comment_after": 0.1})
    assert_complete(await served.ask(chat()), stream=False)


async def test_F05_a_refusal_after_comments_is_read_in_band(bench: Bench) -> None:
    served, _ = await bench.single(Fault(ttft=0.5, status=400), timeouts={"comment_after": 0.2})
    reply = await served.ask(chat(stream=True))
    assert reply.status == 200
    assert reply.done == 0
    assert reply.whole
    assert reply.frames[-1]["error"]["message"]


# -- F06 slow tokens


@pytest.mark.alone
async def test_F06_slow_tokens_end_at_the_longest_duration(bench: Bench) -> None:
    served, upstream = await bench.single(Fault(rate=10.0, tokens=1000), timeouts={"total": 0.8})
    started = time.monotonic()
    reply = await served.ask(chat(stream=True))
    assert 0.8 <= time.monotonic() - started < 1.4
    assert_broken(reply, "stream_timeout")
    assert len(reply.frames) > 4
    (seen,) = await upstream.server.wait_records(1)
    assert seen.closed_by == "client"
    assert seen.content[0].startswith(reply.text)


async def test_F06_a_whole_answer_that_takes_too_long(bench: Bench) -> None:
    served, _ = await bench.single(Fault(rate=10.0, tokens=1000), timeouts={"total": 0.5})
    assert_refused(await served.ask(chat()), 504, "upstream_timeout")


@pytest.mark.alone
@both
async def test_F06_the_longest_duration_covers_the_retries(bench: Bench, stream: bool) -> None:
    mocks = [await bench.mock(ttft=60.0) for _ in range(3)]
    timeouts = {"first_byte": 0.6, "total": 0.9}
    served = await bench.gateway(*(mock.url for mock in mocks), timeouts=timeouts)
    started = time.monotonic()
    assert_refused(await served.ask(chat(stream=stream)), 504, "upstream_timeout")
    assert time.monotonic() - started < 1.3


def with_key(mock: Any, *others: str, **timeouts: float) -> Settings:
    """Settings for a mock in its own process, which wants its key, and other endpoints behind it."""
    endpoints = [Endpoint(url=mock.url, name="e0", tier="L1", weight=1000, api_key=Secret(mock.key))]
    endpoints += [Endpoint(url=url, name=f"e{i}", tier="L1") for i, url in enumerate(others, 1)]
    return make_settings([Model(name="llama", endpoints=tuple(endpoints))], timeouts=timeouts)
