"""The Ollama dialect through Ollama's own client: what it accepts is what the mock may say."""

import json

import jsonschema
import ollama
import pytest

from backends.mock import Fault

MODEL = "mock-model"
HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}
         for name in ("weather", "news")]  # fmt: skip


@pytest.fixture
async def server(start):
    return await start(tokens=6)


@pytest.fixture
async def client(server):
    return ollama.AsyncClient(host=f"http://127.0.0.1:{server.port}")


async def collect(stream, into):
    """Appends what comes, so that it is there when the stream breaks."""
    async for line in stream:
        into.append(line)


async def test_chat(server, client):
    answer = await client.chat(model=MODEL, messages=HELLO)
    assert answer.message.role == "assistant"
    assert answer.message.content
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "stop", 6)
    assert answer.prompt_eval_count > 0
    assert answer.total_duration > 0
    record = (await server.server.wait_records(1))[0]
    assert (record.path, record.model, record.stream, record.tokens) == ("/api/chat", MODEL, False, 6)


async def test_a_stream_says_what_the_whole_answer_says(client):
    whole = await client.chat(model=MODEL, messages=HELLO)
    lines = [line async for line in await client.chat(model=MODEL, messages=HELLO, stream=True)]
    assert "".join(line.message.content for line in lines) == whole.message.content
    assert [line.done for line in lines] == [False] * 6 + [True]
    last = lines[-1]
    assert (last.done_reason, last.prompt_eval_count, last.eval_count) == ("stop", whole.prompt_eval_count, 6)


async def test_it_streams_lines_unless_told_not_to(mock):
    reply = await mock.fetch({"model": MODEL, "messages": HELLO}, "/api/chat")
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = reply.body.splitlines()
    assert [json.loads(line)["done"] for line in lines] == [False] * 4 + [True]
    assert reply.body.endswith(b"\n")
    whole = await mock.fetch({"model": MODEL, "messages": HELLO, "stream": False}, "/api/chat")
    assert whole.headers["content-type"] == "application/json"


async def test_limits_stops_and_images(client):
    short = await client.chat(model=MODEL, messages=HELLO, options={"num_predict": 2})
    assert (short.done_reason, short.eval_count) == ("length", 2)
    whole = (await client.chat(model=MODEL, messages=HELLO)).message.content
    stopped = await client.chat(model=MODEL, messages=HELLO, options={"stop": [whole[5:8]]})
    assert stopped.message.content == whole[: whole.find(whole[5:8])]
    seen = await client.chat(model=MODEL, messages=[{"role": "user", "content": "hello", "images": [b"\x89PNG"]}])
    plain = await client.chat(model=MODEL, messages=HELLO)
    assert seen.prompt_eval_count - plain.prompt_eval_count == 85


@pytest.mark.parametrize("form", ["json", SCHEMA])
async def test_structured_answers(client, form):
    answer = await client.chat(model=MODEL, messages=HELLO, format=form)
    value = json.loads(answer.message.content)
    assert isinstance(value, dict)
    if form == SCHEMA:
        jsonschema.validate(value, SCHEMA)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools(client, stream):
    answer = await client.chat(model=MODEL, messages=HELLO, tools=TOOLS, stream=stream)
    messages = [line.message async for line in answer] if stream else [answer.message]
    calls = [call.function for message in messages for call in message.tool_calls or ()]
    assert [call.name for call in calls] == ["weather"]
    jsonschema.validate(calls[0].arguments, SCHEMA)


async def test_a_tool_result_is_answered_with_text(client):
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "x"}}}]}
    result = {"role": "tool", "content": "sunny", "tool_name": "weather"}
    answer = await client.chat(model=MODEL, messages=[*HELLO, called, result], tools=TOOLS)
    assert answer.message.content
    assert not answer.message.tool_calls


@pytest.mark.parametrize("think", [True, "high"])
async def test_thinking(client, think):
    answer = await client.chat(model=MODEL, messages=HELLO, think=think)
    assert answer.message.thinking
    assert answer.eval_count == 8 + 6
    lines = [line async for line in await client.chat(model=MODEL, messages=HELLO, think=think, stream=True)]
    assert "".join(line.message.thinking or "" for line in lines) == answer.message.thinking


async def test_generate(client):
    answer = await client.generate(model=MODEL, prompt="hello")
    lines = [line async for line in await client.generate(model=MODEL, prompt="hello", stream=True)]
    assert "".join(line.response for line in lines) == answer.response
    assert (lines[-1].done, lines[-1].eval_count) == (True, 6)


async def test_vectors_and_lists(client):
    vectors = await client.embed(model=MODEL, input=["a", "b"], dimensions=8)
    assert [len(vector) for vector in vectors.embeddings] == [8, 8]
    assert vectors.prompt_eval_count == 2
    assert [model.model for model in (await client.list()).models] == [MODEL]
    assert [model.model for model in (await client.ps()).models] == [MODEL]
    assert "tools" in (await client.show(MODEL)).capabilities


async def test_version(mock):
    assert (await mock.fetch(b"", "/api/version", method="GET")).json == {"version": "0.12.0"}


async def test_errors_have_their_shape(mock, client):
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat(model="other", messages=HELLO)
    assert caught.value.status_code == 404
    assert caught.value.error == "The model `other` does not exist."
    reply = await mock.fetch({"model": MODEL, "messages": 5}, "/api/chat")
    assert reply.status == 400
    assert isinstance(reply.json["error"], str)


async def test_an_error_in_the_stream(server, client):
    server.server.script([Fault(in_band_error=2)])
    lines = []
    with pytest.raises(ollama.ResponseError, match="failed in the middle"):
        await collect(await client.chat(model=MODEL, messages=HELLO, stream=True), lines)
    assert len(lines) == 2


async def test_faults_strike_lines_too(mock):
    body = {"model": MODEL, "messages": HELLO}
    for fault, lines in ((Fault(cut_after=2), 2), (Fault(no_blank_line=True), 5), (Fault(crlf=True), 5)):
        mock.server.script([fault])
        assert len((await mock.fetch(body, "/api/chat")).body.splitlines()) == lines
    mock.server.script([Fault(bad_json_event=1)])
    second = (await mock.fetch(body, "/api/chat")).body.splitlines()[1]
    with pytest.raises(ValueError):
        json.loads(second)
    mock.server.script([Fault(finish="unload")])
    assert json.loads((await mock.fetch(body, "/api/chat")).body.splitlines()[-1])["done_reason"] == "unload"
