"""However a request ends, it ends once: told truthfully, settled, and everything it held is given back."""

import asyncio
import gc
from typing import Any

import msgspec
import pytest

from _native.clock import Clock
from backends.dialects.openai import FIELDS
from backends.mock import Fault
from fastpath.context import RequestContext
from fastpath.observe.budget import MemoryBudget
from fastpath.observe.metrics import Metrics
from fastpath.record import DecisionRecord
from fastpath.relay.attempt import Attempt
from fastpath.relay.delivery import Delivery
from fastpath.runtime import Runtime
from fastpath.settings import Endpoint, Model
from loadtest.rig import Bench, chat, post
from loadtest.rig.bench import make_settings
from scheduler.endpoint import EndpointTable
from scheduler.retry import RetryBudget

ENDINGS: dict[str, tuple[Fault, dict[str, Any]]] = {
    "complete": (Fault(), {}),
    "refused by the model server": (Fault(status=422), {}),
    "no key there": (Fault(status=401), {}),
    "busy there": (Fault(status=429), {}),
    "error there": (Fault(status=500), {}),
    "dead before the head": (Fault(die="pre"), {}),
    "cut": (Fault(cut_after=2), {}),
    "reset": (Fault(cut_after=1, how="rst"), {}),
    "silent": (Fault(stall_after=2), {"idle": 0.2}),
    "never begun": (Fault(stall_after="head"), {"first_byte": 0.2}),
    "too long in all": (Fault(stall_after=1), {"total": 0.2}),
    "malformed": (Fault(bad_json_event=1), {}),
    "an error inside": (Fault(in_band_error=2), {}),
    "huge": (Fault(huge_event=1 << 20), {}),
    "garbage": (Fault(garbage=True), {}),
    "packed": (Fault(gzip=True), {}),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_everything_is_given_back(bench: Bench, quiet: Any, ending: str, stream: bool) -> None:
    fault, timeouts = ENDINGS[ending]
    upstream = await bench.mock()
    upstream.script(fault)
    served = await bench.gateway(upstream.url, timeouts=timeouts, limits={"frame": 1 << 19, "response_body": 1 << 19})
    reply = await served.ask(chat(stream=stream))
    assert reply.whole
    await quiet(served).wait()
    (record,) = await served.records.wait(1)
    assert record.status == reply.status
    assert record.outcome != "open"
    assert (record.outcome == "complete") == (reply.status == 200 and (not stream or reply.done == 1))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("moment", ["head", "body", "back-off"])
async def test_everything_is_given_back_when_the_caller_leaves(
    bench: Bench, quiet: Any, moment: str, stream: bool
) -> None:
    upstream, second = await bench.mock(), await bench.mock()
    fault = {"head": Fault(stall_after="head"), "body": Fault(stall_after=0, early_head=True)}
    upstream.script(fault.get(moment, Fault(status=500)))
    more: dict[str, Any] = {}
    if moment == "back-off":
        from fastpath.settings import Retries

        more["retries"] = Retries(backoff=60.0, backoff_max=60.0)
    served = await bench.gateway(upstream.url, second.url, **more)
    client = await served.open()
    client.send(chat(stream=stream))
    if moment == "back-off":
        await upstream.server.wait_records(1)
    else:
        async with asyncio.timeout(30):
            while not served.in_flight or not upstream.asked:
                await asyncio.sleep(0.001)
    client.leave()
    (record,) = await served.records.wait(1)
    assert (record.status, record.outcome) == (499, "client_left")
    await quiet(served).wait()
    assert second.asked == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"{"),
        post({"model": "other", "messages": [{"role": "user", "content": "x"}]}),
        post({}, "/v1/nothing"),
        post({}, headers=[("content-encoding", "gzip")]),
        post({}, headers=[("content-length", str(1 << 40))]),
    ],
)
async def test_a_refused_request_gives_its_memory_back(bench: Bench, quiet: Any, request_bytes: bytes) -> None:
    served = await bench.gateway((await bench.mock()).url)
    reply = await served.ask(request_bytes)
    assert reply.status in (400, 404, 413, 415)
    await quiet(served).wait()
    (record,) = await served.records.wait(1)
    assert (record.status, record.outcome, record.attempts) == (reply.status, "refused", 0)


async def test_what_a_body_holds_is_counted_while_it_runs(bench: Bench, quiet: Any) -> None:
    upstream = await bench.mock()
    upstream.script(Fault(stall_after="head"))
    served = await bench.gateway(upstream.url)
    client = await served.open()
    request = chat(text="x" * 100_000)
    client.send(request)
    async with asyncio.timeout(30):
        while not upstream.asked:
            await asyncio.sleep(0.001)
    assert quiet(served).facts()["memory"] == len(request.partition(b"\r\n\r\n")[2])
    client.leave()
    await quiet(served).wait()


async def test_no_memory_no_admission(bench: Bench, quiet: Any) -> None:
    served = await bench.gateway((await bench.mock()).url, limits={"memory": 1 << 20, "json_body": 1 << 20})
    reply = await served.ask(chat(text="x" * 900_000))
    assert (reply.status, reply.error["code"], reply.header("retry-after")) == (503, "overloaded", "1")
    assert (await served.ask(chat())).status == 200
    await quiet(served).wait()


# -- what the record says


@pytest.mark.parametrize("fault", [Fault(cut_after=4), Fault(stall_after=4), Fault(bad_json_event=4)])
async def test_a_broken_stream_is_charged_for_what_was_delivered(bench: Bench, fault: Fault) -> None:
    upstream = await bench.mock(tokens=50)
    upstream.script(fault)
    served = await bench.gateway(upstream.url, timeouts={"idle": 0.2})
    reply = await served.ask(chat(stream=True))
    (record,) = await served.records.wait(1)
    assert record.outcome == "broken"
    assert record.events == len(reply.frames) - 1 == 4
    assert record.bytes_out > 100
    assert (record.output_tokens, record.estimated) == (4, True)


async def test_a_caller_that_left_is_charged_for_what_was_delivered(bench: Bench) -> None:
    upstream = await bench.mock(tokens=50)
    upstream.script(Fault(stall_after=4))
    served = await bench.gateway(upstream.url)
    client = await served.open()
    client.send(chat(stream=True))
    await client.events(4)
    client.leave()
    (record,) = await served.records.wait(1)
    assert (record.status, record.events, record.output_tokens, record.estimated) == (499, 4, 4, True)


async def test_a_broken_message_is_not_charged_one_token(bench: Bench) -> None:
    """Anthropic's message_start says `output_tokens: 1` long before the answer is done."""
    upstream = await bench.mock(tokens=50)
    upstream.script(Fault(cut_after=20))
    served = await bench.gateway(upstream.url)
    body = {"model": "llama", "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    await served.ask(post(body, "/v1/messages"))
    (record,) = await served.records.wait(1)
    assert (record.outcome, record.estimated) == ("broken", True)
    assert record.output_tokens is not None
    assert record.output_tokens > 10
    assert record.input_tokens


# -- what model servers say that nobody expects


@pytest.mark.parametrize(
    "data",
    [b'{"error":{"message":"\\ud800"}}', b'{"error":{"message":"x","code":1e999}}', b'{"error":"plain"}',
     b'{"error":1}', b'{"error":{"message":' + b"9" * 5000 + b"}}",
     b'{"error":{"message":{"a":[1]},"type":7,"code":400}}'],
)  # fmt: skip
@pytest.mark.parametrize("begun", [False, True])
async def test_any_error_event_ends_the_stream(bench: Bench, raw: Any, quiet: Any, data: bytes, begun: bool) -> None:
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n' if begun else b""
    events = frame + b"data: " + data + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
    raw.answer = head % len(events) + events
    served = await bench.gateway(raw.url)
    reply = await served.ask(chat(stream=True))
    await quiet(served).wait()
    if not begun:
        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        return
    assert reply.done == 0
    error = reply.in_band
    assert error is not None
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    (record,) = await served.records.wait(1)
    assert (record.outcome, record.error) == ("broken", "upstream_error")


@pytest.mark.parametrize("body", [b"<html>\r\nno</html>", b'{"error":{"message":"a\\nb"}}\r\n', b"", b'"x"'])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_a_refusal_after_comments_is_an_event_of_its_dialect(
    bench: Bench, raw: Any, quiet: Any, body: bytes, path: str
) -> None:
    served = await bench.gateway(raw.url, timeouts={"comment_after": 0.05})
    client = await served.open()
    request = {"model": "llama", "max_tokens": 5, "stream": True, "input": "x"}
    client.send(post(request | {"messages": [{"role": "user", "content": "x"}]}, path))
    await client.until(lambda: client.reader.current.body.count(b": keep-alive\n\n"))
    raw.peers[0].transport.write(b"HTTP/1.1 400 Bad\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    reply = await client.reply()
    last = reply.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    lines = last.split(b"\n")
    found = msgspec.json.decode(lines[-1].removeprefix(b"data: "))
    if path == "/v1/chat/completions":
        assert len(lines) == 1
        assert set(found) == {"error"}
        assert set(found["error"]) == {"message", "type", "param", "code"}
        assert found["error"]["message"]
    else:
        assert lines[0] == b"event: error"
        assert found["type"] == "error"
        assert (found if path == "/v1/responses" else found["error"])["message"]
    await quiet(served).wait()
    client.leave()


async def test_busy_endpoints_are_busy_in_band_too(bench: Bench, raw: Any) -> None:
    served = await bench.gateway(raw.url, timeouts={"comment_after": 0.05})
    client = await served.open()
    client.send(chat(stream=True))
    await client.until(lambda: client.reader.current.body.count(b": keep-alive\n\n"))
    raw.peers[0].transport.write(b"HTTP/1.1 429 Busy\r\ncontent-length: 0\r\n\r\n")
    reply = await client.reply()
    assert reply.in_band is not None
    assert reply.in_band["code"] == "overloaded"
    client.leave()


# -- bodies that are neither JSON nor events


def speech(**more: Any) -> bytes:
    return post({"model": "llama", "input": "x", "voice": "v"} | more, "/v1/audio/speech")


@pytest.mark.parametrize("more", [{}, {"stream": True}])
async def test_sound_is_never_mixed_with_events(bench: Bench, raw: Any, quiet: Any, more: dict[str, Any]) -> None:
    """A slow answer gets no comments, a broken one no error event: the caller would play them."""
    served = await bench.gateway(raw.url, timeouts={"comment_after": 0.05, "idle": 0.3})
    client = await served.open()
    client.send(speech(**more))
    await raw.until(lambda: raw.peers and raw.whole(raw.peers[0].received))
    await asyncio.sleep(0.25)
    assert client.received == 0
    raw.peers[0].transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 100\r\n\r\nabcde")
    await client.end()
    assert client.reader.current.body == b"abcde"
    assert not client.reader.done
    (record,) = await served.records.wait(1)
    assert (record.outcome, record.bytes_out) == ("broken", 5)
    await quiet(served).wait()


async def test_sound_arrives_whole(bench: Bench, raw: Any, quiet: Any) -> None:
    raw.answer = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 5\r\n\r\nabcde"
    served = await bench.gateway(raw.url)
    reply = await served.ask(speech())
    assert (reply.status, reply.body, reply.header("content-type")) == (200, b"abcde", "audio/mpeg")
    (record,) = await served.records.wait(1)
    assert (record.outcome, record.bytes_out) == ("complete", 5)
    await quiet(served).wait()


# -- retries


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("fault", [Fault(die="pre"), Fault(stall_after="head"), Fault(status=503)])
async def test_what_may_have_been_stored_is_not_sent_again(bench: Bench, store: bool, fault: Fault) -> None:
    first, second = await bench.mock(), await bench.mock()
    first.script(fault)
    served = await bench.gateway(first.url, second.url, timeouts={"first_byte": 0.2})
    reply = await served.ask(chat(store=store))
    sent_twice = not store or fault.status == 503
    assert second.asked == sent_twice
    assert reply.status == (200 if sent_twice else 504 if fault.stall_after else 502)


@pytest.mark.parametrize("store", [True, False])
async def test_what_may_have_been_stored_is_not_sent_on_a_new_connection(bench: Bench, raw: Any, store: bool) -> None:
    """The kept connection dies as the request is there: whether it was read nobody knows."""
    body = b'{"object":"chat.completion","choices":[]}'
    raw.answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    served = await bench.gateway(raw.url)
    assert (await served.ask(chat())).status == 200
    answer, raw.answer = raw.answer, None
    asking = asyncio.ensure_future(served.ask(chat(store=store)))
    await raw.until(lambda: raw.whole(raw.peers[0].received))
    raw.answer = answer
    raw.peers[0].transport.abort()
    assert (await asking).status == (502 if store else 200)
    assert len(raw.peers) == (1 if store else 2)


async def test_stored_or_not_what_was_never_sent_is_retried(bench: Bench) -> None:
    second = await bench.mock()
    served = await bench.gateway("http://127.0.0.1:1/v1", second.url)
    assert (await served.ask(chat(store=True))).status == 200


async def test_a_refused_usage_request_is_remembered(bench: Bench) -> None:
    upstream = await bench.mock()
    upstream.script(Fault(refuse_stream_options=True))
    served = await bench.gateway(upstream.url)
    for _ in range(3):
        reply = await served.ask(chat(stream=True))
        assert (reply.status, reply.done) == (200, 1)
    assert upstream.asked == 4, "asked once in vain, never again"
    records = await served.records.wait(3)
    assert [record.attempts for record in records] == [2, 1, 1]
    assert all(record.estimated and record.output_tokens for record in records)
    reply = await served.ask(chat(stream=True, stream_options={"include_usage": True}))
    assert reply.status == 400, "the caller's own wish is the caller's to hear about"


async def test_the_retry_of_a_request_out_of_time_leaves_nobody_working(bench: Bench, quiet: Any) -> None:
    """The whole request has one deadline: its second attempt is ended with it, not by a deadline of its own."""
    first, second = await bench.mock(), await bench.mock()
    first.script(Fault(stall_after="head"))
    second.script(Fault(stall_after="head"))
    served = await bench.gateway(first.url, second.url, timeouts={"first_byte": 0.4, "total": 0.6})
    reply = await served.ask(chat())
    assert reply.status == 504
    assert quiet(served).facts()["calls"] == 0
    (seen,) = await second.server.wait_records(1)
    assert seen.closed_by == "client"


# -- bugs of ours


async def test_an_exception_in_an_attempt_is_a_500_and_leaks_nothing(
    bench: Bench, quiet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url)
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("fastpath.relay.delivery.ask_usage", fail)
    reply = await served.ask(chat(stream=True))
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert [str(error) for error in reported] == ["a bug"]
    await quiet(served).wait()


async def test_an_exception_in_a_retry_is_a_500_and_leaks_nothing(bench: Bench, quiet: Any) -> None:
    upstream, second = await bench.mock(), await bench.mock()
    upstream.script(Fault(status=500))
    endpoints = (Endpoint(url=upstream.url, weight=1000), Endpoint(url=second.url, model="renamed"))
    served = await bench.serve(make_settings((Model(name="llama", endpoints=endpoints),)))
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    runtime = served.gateway.app._runtime  # type: ignore[union-attr]  # it runs

    def forget_members() -> float:
        (delivery,) = runtime.deliveries
        delivery.ctx.members = FIELDS.read(b"{}")  # only a renaming attempt looks at them
        return 0.0

    runtime.random = forget_members  # asked for the wait before the second attempt
    reply = await served.ask(chat())
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert [type(error) for error in reported] == [AssertionError]
    await quiet(served).wait()


# -- cycles


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", [Fault(), Fault(status=500), Fault(cut_after=2), Fault(status=400)])
async def test_nothing_of_a_request_waits_for_the_collector(
    bench: Bench, quiet: Any, stream: bool, fault: Fault
) -> None:
    upstream = await bench.mock()
    upstream.script(fault)
    served = await bench.gateway(upstream.url)
    client = await served.open()
    await client.ask(chat(stream=stream))
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await client.ask(chat(stream=stream))
        await quiet(served).wait()
        await asyncio.sleep(0)
        kinds = (Attempt, Delivery, RequestContext)
        left = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds)]
    finally:
        gc.enable()
    assert len(left) <= 3, left
    client.leave()


def test_a_record_is_written_once() -> None:
    from fastpath.account.settle import settle

    class Kept(Clock):
        """A clock that stands, and the records put."""

        def __init__(self) -> None:
            self.records: list[DecisionRecord] = []

        def monotonic(self) -> float:
            return 5.0

        def put(self, record: DecisionRecord) -> None:
            self.records.append(record)

    record = DecisionRecord("r", 0.0, "GET", "/", "")
    record.status = 200
    ctx: Any = RequestContext(None, record, None, 2.0)  # type: ignore[arg-type]  # neither is looked at
    kept: Any = Kept()
    budget, metrics = MemoryBudget(100), Metrics()
    assert budget.reserve(7)
    ctx.reserved = 7
    runtime = Runtime(kept, kept, metrics, kept, budget, EndpointTable(), RetryBudget(0.1, 1, kept), kept)
    for _ in range(3):
        settle(ctx, runtime)
    assert budget.used == 0
    assert kept.records == [record]
    assert metrics.snapshot().counters["ai_inference_requests_total"] == {("unknown", "unknown", "200"): 1}
    assert record.total_ms == 3000.0
