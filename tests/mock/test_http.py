"""HTTP as such: connections, request bodies, refusals."""

import hashlib
import io
import json

import pytest

SUM = hashlib.sha256


async def test_keep_alive_and_pipelining(mock, chat_of, request_of):
    tap = await mock.connect()
    tap.transport.write(request_of(chat_of(text="one")) + request_of(chat_of(text="two"), close=True))
    assert await tap.end() == "fin"
    assert tap.raw.count(b"HTTP/1.1 200 OK") == 2
    records = await mock.server.wait_records(2)
    assert [record.connection for record in records] == [1, 1]
    assert records[0].ended <= records[1].received


async def test_chunked_request_body(mock, chat_of):
    body = json.dumps(chat_of()).encode()
    tap = await mock.connect()
    tap.transport.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\n")
    for at in range(0, len(body), 7):
        tap.transport.write(b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]))
    tap.transport.write(b"0\r\n\r\n")
    await tap.until(lambda raw: raw.endswith(b"}"))
    record = (await mock.server.wait_records(1))[0]
    assert (record.sha256, record.body_length) == (SUM(body).hexdigest(), len(body))


async def test_expect_100_continue(mock, chat_of, request_of):
    request = request_of(chat_of(), headers={"expect": "100-continue"})
    head, _, body = request.partition(b"\r\n\r\n")
    tap = await mock.connect()
    tap.transport.write(head + b"\r\n\r\n")
    await tap.until(lambda raw: raw == b"HTTP/1.1 100 Continue\r\n\r\n")
    tap.transport.write(body)
    await tap.until(lambda raw: b"HTTP/1.1 200 OK" in raw)


async def test_http_1_0_gets_a_close_delimited_stream(mock, chat_of, request_of):
    tap = await mock.connect()
    tap.transport.write(request_of(chat_of(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert await tap.end() == "fin"
    assert b"transfer-encoding" not in tap.raw
    assert tap.raw.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("POST", "/v1/unknown", {}, 404, "unknown_url", None),
        ("POST", "/", {}, 404, "unknown_url", None),
        ("GET", "/v1/chat/completions", {}, 405, "method_not_allowed", None),
        ("DELETE", "/v1/models", {}, 405, "method_not_allowed", None),
        ("GET", "/v1/models/none", b"", 404, "model_not_found", "model"),
        ("POST", "/v1/chat/completions", b'{"model": ', 400, "invalid_json", None),
        ("POST", "/v1/chat/completions", b"", 400, "invalid_json", None),
        ("POST", "/v1/chat/completions", [1], 400, "invalid_type", None),
        ("POST", "/v1/chat/completions", {"model": 5, "messages": []}, 400, "invalid_type", "model"),
        ("POST", "/v1/chat/completions", {"model": "m", "messages": "x"}, 400, "invalid_type", "messages"),
        ("POST", "/v1/chat/completions", {"model": "mock-model", "messages": []}, 400, "empty_array", "messages"),
        ("POST", "/v1/chat/completions", {"messages": []}, 400, "missing_required_parameter", "model"),
        ("POST", "/v1/embeddings", {"model": "other", "input": "x"}, 404, "model_not_found", "model"),
        ("POST", "/v1/audio/transcriptions", b"x", 400, "invalid_json", None),
    ],
)
async def test_refusals(mock, method, path, body, status, code, param):
    reply = await mock.fetch(body, path, method=method)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)


async def test_bad_json_tells_its_position(mock):
    assert "byte 10" in (await mock.fetch(b'{"model": }')).json["error"]["message"]


async def test_what_is_no_http_gets_a_400(mock):
    tap = await mock.connect()
    tap.transport.write(b"HELLO\r\n\r\n")
    assert await tap.end() == "fin"
    assert tap.raw.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
async def test_api_key(start, chat_of, name):
    mock = await start(api_key="s3cret")
    value = "Bearer s3cret" if name == "authorization" else "s3cret"
    assert (await mock.fetch(chat_of(), headers={name: value})).status == 200
    for headers in ({}, {name: value + "x"}, {name: ""}):
        reply = await mock.fetch(chat_of(), headers=headers)
        assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
    assert (await mock.fetch(b"", "/health", method="GET")).status == 200
    assert "s3cret" not in repr(mock.server.records)


async def test_a_body_over_the_limit_is_refused_while_it_is_read(start, request_of):
    mock = await start(body_limit=1000)
    tap = await mock.connect()
    tap.transport.write(request_of(b"x" * 5000)[:-1000])
    await tap.until(lambda raw: raw.startswith(b"HTTP/1.1 413"))
    await tap.end()


async def test_models(start):
    mock = await start(models=("a", "org/b:7"))
    models = (await mock.fetch(b"", "/v1/models", method="GET")).json
    assert [model["id"] for model in models["data"]] == ["a", "org/b:7"]
    assert models["object"] == "list"
    assert (await mock.fetch(b"", "/v1/models/org%2Fb%3A7", method="GET")).json["id"] == "org/b:7"


async def test_records_are_written_as_json_lines(start, chat_of):
    log = io.BytesIO()
    mock = await start(log=log, tokens=4, input_price=2, output_price=3)
    body = chat_of(stream=True)
    reply = await mock.fetch(body, headers={"authorization": "Bearer k3y", "x-request-id": "abc"})
    await mock.fetch(b"", "/health", method="GET")
    await mock.server.wait_records(1)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 1, "requests about the server itself leave no record"
    line = lines[0]
    raw = json.dumps(body).encode()
    assert (line["sha256"], line["body_length"]) == (SUM(raw).hexdigest(), len(raw))
    assert (line["method"], line["path"], line["model"]) == ("POST", "/v1/chat/completions", "mock-model")
    assert (line["status"], line["bytes_sent"], line["closed_by"]) == (200, len(reply.raw), "done")
    assert line["events_sent"] == len(line["event_times"]) == len(reply.data)
    text = "".join(choice["delta"].get("content") or "" for frame in reply.frames for choice in frame["choices"])
    assert line["content"] == {"0": text}
    assert line["charge"] == line["prompt_tokens"] * 2 + 4 * 3
    assert line["started"] <= line["received"] <= line["head_sent"] <= line["event_times"][0] <= line["ended"]
    assert ["x-request-id", "abc"] in line["headers"]
    assert b"k3y" not in log.getvalue()


async def test_keep_bounds_the_records_in_memory(start):
    mock = await start(keep=2)
    for _ in range(3):
        await mock.chat()
    assert [record.id for record in await mock.server.wait_records(3)] == [2, 3]


async def test_metrics(start, chat_of):
    mock = await start(slots=1, tokens=4, cache_blocks=10)
    first = await mock.send(chat_of(stream=True) | {"mock": {"stall_after": 3}})
    await first.until(lambda raw: raw.count(b"data: ") == 3)
    await mock.send(chat_of())
    while len(mock.server.live) < 2 or mock.server.live[1].received is None:
        await mock.fetch(b"", "/health", method="GET")
    text = (await mock.fetch(b"", "/metrics", method="GET")).body.decode()
    rows = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    label = '{model_name="mock-model"}'
    assert rows["vllm:num_requests_running" + label] == "1"
    assert rows["vllm:num_requests_waiting" + label] == "1"
    assert float(rows["vllm:kv_cache_usage_perc" + label]) == (3 + 2) / 160
