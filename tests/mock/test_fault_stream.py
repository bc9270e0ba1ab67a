"""Every switch that changes the event stream, seen on the wire."""

import gzip
import json
import zlib

import pytest

from backends.mock import Fault


def events_of(reply):
    return [event for event in reply.body.split(b"\n\n") if event]


async def test_good_stream(mock):
    reply = await mock.stream()
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in reply.headers
    assert reply.raw.endswith(b"\r\n0\r\n\r\n")
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert all(chunk.endswith(b"\n\n") for chunk in reply.chunks)
    frames = reply.frames
    assert frames[0]["choices"][0]["delta"]["role"] == "assistant"
    assert frames[-1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in frame for frame in frames)
    assert len({(frame["id"], frame["created"], frame["model"]) for frame in frames}) == 1


async def test_the_answer_depends_on_prompt_and_seed_alone(start):
    def text(reply):
        return reply.json["choices"][0]["message"]["content"]

    first, second, other = await start(), await start(), await start(seed=7)
    answer = text(await first.chat(text="one"))
    assert answer == text(await second.chat(text="one"))
    assert answer != text(await first.chat(text="two"))
    assert answer != text(await other.chat(text="one"))
    assert answer != text(await first.chat(text="one", seed=5))


async def test_vary_gives_another_answer_each_time(start):
    mock = await start(vary=True)
    answers = {(await mock.chat()).json["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(answers) == 3


@pytest.mark.parametrize(("fault", "end"), [(Fault(crlf=True), b"\r\n"), (Fault(cr=True), b"\r"), (Fault(), b"\n")])
async def test_line_ends(mock, fault, end):
    body = (await mock.stream(fault)).body
    assert body.endswith(b"data: [DONE]" + end + end)
    assert body.replace(end, b"").find(b"\n") == -1
    assert body.replace(end, b"").find(b"\r") == -1


async def test_bom(mock):
    reply = await mock.stream(Fault(bom=True))
    assert reply.body.startswith(b"\xef\xbb\xbfdata: ")
    assert reply.body.count(b"\xef\xbb\xbf") == 1


async def test_comments_before_every_event(mock):
    events = events_of(await mock.stream(Fault(comments=True)))
    assert events[0::2] == [b": keep-alive"] * (len(events) // 2)
    assert all(event.startswith(b"data: ") for event in events[1::2])


async def test_comment_every_while_waiting_for_the_first_token(mock):
    reply = await mock.stream(Fault(comment_every=0.02, ttft=0.1))
    events = events_of(reply)
    assert 3 <= events.index(next(event for event in events if event.startswith(b"data"))) <= 4
    assert events[0] == b": keep-alive"


async def test_comment_every_goes_on_in_a_stall(mock, chat_of):
    tap = await mock.send(chat_of(Fault(comment_every=0.01, stall_after=2), stream=True))
    raw = await tap.until(lambda raw: raw.count(b": keep-alive") >= 5)
    assert raw.count(b"data: ") == 2
    tap.transport.abort()
    record = (await mock.server.wait_records(1))[0]
    assert (record.closed_by, record.events_sent) == ("client", 2)


async def test_multi_line_data(mock):
    event = events_of(await mock.stream(Fault(multi_line_data=True)))[0]
    lines = event.split(b"\n")
    assert len(lines) > 3
    assert all(line.startswith(b"data: ") for line in lines)
    assert json.loads(b"\n".join(line[6:] for line in lines))["object"] == "chat.completion.chunk"


async def test_no_blank_line(mock):
    assert (await mock.stream(Fault(no_blank_line=True))).body.endswith(b"\n\ndata: [DONE]\n")


async def test_no_done(mock):
    reply = await mock.stream(Fault(no_done=True))
    assert b"[DONE]" not in reply.body
    assert reply.frames[-1]["choices"][0]["finish_reason"] == "stop"


async def test_duplicate_done(mock):
    assert (await mock.stream(Fault(duplicate_done=True))).body.endswith(b"data: [DONE]\n\ndata: [DONE]\n\n")


async def test_bad_json_event(mock):
    data = (await mock.stream(Fault(bad_json_event=2))).data
    broken = [index for index, line in enumerate(data) if line != b"[DONE]" and not _is_json(line)]
    assert broken == [2]


def _is_json(line):
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True


async def test_bad_json_event_of_a_whole_body(mock):
    reply = await mock.chat(Fault(bad_json_event=0))
    assert not _is_json(reply.body)
    assert int(reply.headers["content-length"]) == len(reply.body)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9}),
        ("/v1/responses", {"input": "x"}),
    ],
)
async def test_in_band_error_ends_the_stream_in_its_dialect(mock, path, more):
    body = {"model": "mock-model", "stream": True, "mock": {"in_band_error": 3}, **more}
    reply = await mock.fetch(body, path)
    frames = reply.frames
    assert len(frames) == 4
    assert b"[DONE]" not in reply.body
    assert reply.raw.endswith(b"0\r\n\r\n")
    if path == "/v1/responses":
        assert (frames[3]["type"], frames[3]["code"], frames[3]["sequence_number"]) == ("error", "engine_failure", 3)
    else:
        assert frames[3]["error"]["message"]
    if path in ("/v1/responses", "/v1/messages"):
        assert events_of(reply)[3].startswith(b"event: error\n")


async def test_huge_event(mock):
    reply = await mock.stream(Fault(huge_event=300_000))
    assert reply.frames[1]["choices"][0]["delta"]["content"] == "x" * 300_000


async def test_endless_line(mock):
    reply = await mock.stream(Fault(endless_line=200_000))
    start = reply.raw.partition(b"\r\n\r\n")[2]
    assert len(b"".join(_chunks_of_open_body(start))) == 200_000 + len("data: ")
    assert not reply.raw.endswith(b"0\r\n\r\n")
    record = (await mock.server.wait_records(1))[0]
    assert (record.closed_by, record.events_sent) == ("server", 0)


def _chunks_of_open_body(data):
    while data:
        size, _, data = data.partition(b"\r\n")
        yield data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


async def test_firehose_sends_all_and_lets_others_in(start):
    mock = await start(rate=10.0, tokens=1)
    tap = await mock.send({"model": "mock-model", "messages": [{"role": "user", "content": "x"}],
                           "stream": True, "mock": {"firehose": 20_000}})  # fmt: skip
    await tap.until(lambda raw: len(raw) > 100_000)
    health = await mock.fetch(b"", "/health", method="GET")
    assert health.json == {"status": "ok"}
    assert not tap.raw.endswith(b"0\r\n\r\n"), "the firehose should still run while others are served"
    raw = await tap.until(lambda raw: raw.endswith(b"0\r\n\r\n"))
    assert raw.count(b'"content":"a"') == 20_000
    assert (await mock.server.wait_records(1))[0].content == {0: "a" * 20_000}


async def test_json_not_sse(mock):
    reply = await mock.stream(Fault(json_not_sse=True))
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["object"] == "chat.completion"


async def test_sse_not_json(mock):
    reply = await mock.chat(Fault(sse_not_json=True))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.data[-1] == b"[DONE]"


async def test_content_length_sse(mock):
    reply = await mock.stream(Fault(content_length_sse=True))
    assert "transfer-encoding" not in reply.headers
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert reply.data[-1] == b"[DONE]"


async def test_gzip_stream_is_flushed_per_event(mock):
    reply = await mock.stream(Fault(gzip=True))
    assert reply.headers["content-encoding"] == "gzip"
    inflater = zlib.decompressobj(wbits=31)
    parts = [inflater.decompress(chunk) for chunk in reply.chunks]
    assert all(part.endswith(b"\n\n") for part in parts[:-1])
    assert b"".join(parts).endswith(b"data: [DONE]\n\n")
    assert inflater.eof


async def test_gzip_body(mock):
    reply = await mock.chat(Fault(gzip=True))
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert json.loads(gzip.decompress(reply.body))["object"] == "chat.completion"


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    ("shape", "final", "others"),
    [
        (None, "if asked", "null if asked"),
        ("none", "no", "absent"),
        ("final", "empty", "null if asked"),
        ("final_with_choices", "with", "null if asked"),
        ("every", "if asked", "cumulative"),
    ],
)
async def test_where_usage_appears(mock, shape, final, others, asked):
    options = {"stream_options": {"include_usage": True}} if asked else {}
    frames = (await mock.stream(Fault(usage=shape), **options)).frames
    last, rest = frames[-1], frames[:-1]
    if final == "no" or (final == "if asked" and not asked):
        assert last["choices"][0]["finish_reason"] == "stop"
        rest = frames
    else:
        assert last["choices"] == ([{"index": 0, "delta": {}}] if final == "with" else [])
        assert last["usage"]["completion_tokens"] == 4
    if others == "cumulative":
        assert [frame["usage"]["completion_tokens"] for frame in rest] == [0, 1, 2, 3, 4, 4]
    elif others == "null if asked" and asked:
        assert all(frame["usage"] is None for frame in rest)
    else:
        assert all("usage" not in frame for frame in rest)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("shape", "prompt", "total"),
    [("zero", b"0", b"0"), ("negative", b"-5", b"-9"), ("huge", b"1000000000", b"1000000000"), ("nan", b"NaN", b"NaN")],
)
async def test_lies_about_usage(mock, shape, prompt, total, stream):
    reply = await mock.fetch({"model": "mock-model", "messages": [{"role": "user", "content": "hello 123"}],
                              "stream": stream, "mock": {"usage": shape}})  # fmt: skip
    assert b'"prompt_tokens":%b,' % prompt in reply.body
    assert b'"total_tokens":%b,' % total in reply.body
    record = (await mock.server.wait_records(1))[0]
    assert (record.prompt_tokens, record.tokens) == (4, 4)


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_null(mock, stream):
    reply = await mock.fetch({"model": "mock-model", "messages": [{"role": "user", "content": "x"}],
                              "stream": stream, "mock": {"usage": "null"}})  # fmt: skip
    assert b'"usage":null' in reply.body
    assert b"prompt_tokens" not in reply.body


async def test_refuse_stream_options(mock):
    reply = await mock.stream(Fault(refuse_stream_options=True), stream_options={"include_usage": True})
    assert (reply.status, reply.json["error"]["param"]) == (400, "stream_options")
    assert (await mock.stream(Fault(refuse_stream_options=True))).status == 200


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {}}}}}


@pytest.mark.parametrize("unlabelled", [True, False])
async def test_unlabelled_tool_calls(mock, unlabelled):
    reply = await mock.stream(Fault(unlabelled_tool_calls=unlabelled), tools=[TOOL])
    deltas = [choice["delta"] for frame in reply.frames for choice in frame["choices"]]
    parts = [part for delta in deltas for part in delta.get("tool_calls", [])]
    assert parts[0]["function"]["name"] == "look"
    assert ["index" in part for part in parts] == [not unlabelled] * len(parts)
    assert ["id" in part for part in parts] == [not unlabelled] + [False] * (len(parts) - 1)


@pytest.mark.parametrize(("wrong", "name"), [(True, "another-model"), ("gpt-9", "gpt-9"), (False, "mock-model")])
async def test_wrong_model_name(mock, wrong, name):
    assert (await mock.chat(Fault(wrong_model_name=wrong))).json["model"] == name
    assert {frame["model"] for frame in (await mock.stream(Fault(wrong_model_name=wrong))).frames} == {name}


async def test_tokens(mock):
    reply = await mock.chat(Fault(tokens=9))
    assert reply.json["usage"]["completion_tokens"] == 9
    assert (await mock.chat(Fault(tokens=9), max_tokens=2)).json["choices"][0]["finish_reason"] == "length"
