"""The Big List of Naughty Strings (tests/corpora/strings-blns) in every string a caller controls, on real sockets.

Never a 5xx, errors of the right form, and what is passed on reaches the model server byte by byte.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtest.rig import Bench, post

STRINGS: list[str] = json.loads((Path(__file__).parent.parent / "corpora" / "strings-blns" / "blns.json").read_text())

Body = dict[str, Any]


def chat(**more: Any) -> Body:
    return {"model": "llama", "messages": [{"role": "user", "content": "hi"}], **more}


#: Where a string goes -> (path, body).
FIELDS: dict[str, tuple[str, Callable[[str], Body]]] = {
    "content": ("/v1/chat/completions", lambda s: chat(messages=[{"role": "user", "content": s}])),
    "content-part": (
        "/v1/chat/completions",
        lambda s: chat(messages=[{"role": "user", "content": [{"type": "text", "text": s}]}]),
    ),
    "role": ("/v1/chat/completions", lambda s: chat(messages=[{"role": s, "content": "x"}])),
    "name": ("/v1/chat/completions", lambda s: chat(messages=[{"role": "user", "content": "x", "name": s}])),
    "user": ("/v1/chat/completions", lambda s: chat(user=s)),
    "stop": ("/v1/chat/completions", lambda s: chat(stop=[s])),
    "tool": ("/v1/chat/completions", lambda s: chat(tools=[{"type": "function", "function": {"name": s}}])),
    "unknown-field": ("/v1/chat/completions", lambda s: chat(x=s)),
    "unknown-name": ("/v1/chat/completions", lambda s: chat(**{f"x {s}": 1})),
    "prompt": ("/v1/completions", lambda s: {"model": "llama", "prompt": s}),
    "input": ("/v1/embeddings", lambda s: {"model": "llama", "input": s}),
}


@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "utf8"])
@pytest.mark.parametrize("field", FIELDS)
async def test_in_a_field(bench: Bench, field: str, ascii_only: bool) -> None:
    path, make = FIELDS[field]
    upstream = await bench.mock(tokens=1)
    served = await bench.gateway(upstream.url)
    client, passed = await served.open(), []
    for text in STRINGS[ascii_only::2]:
        body = json.dumps(make(text), ensure_ascii=ascii_only).encode()
        client, reply = await served.ask_on(client, post(body, path))
        # The mock refuses an empty prompt and unknown roles as model servers do: 4xx, passed on.
        assert reply.status in (200, 400), f"{text!r}: {reply.status} {reply.body!r}"
        if reply.status >= 400:
            assert reply.error["message"]
        passed.append(hashlib.sha256(body).hexdigest())
    records = await upstream.server.wait_records(1)
    assert {record.sha256 for record in records} <= set(passed)
    assert len(records) >= 0.9 * len(passed)
    client.leave()


async def test_as_a_model_name(bench: Bench) -> None:
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url)
    client = await served.open()
    for text in STRINGS:
        client, reply = await served.ask_on(client, post(chat(model=text)))
        assert reply.status in (400, 404), f"{text!r}: {reply.status}"
        assert reply.error["code"] in ("invalid_request", "model_not_found")
    assert upstream.asked == 0
    families = served.gateway.metrics.snapshot().counters["ai_inference_requests_total"]
    assert len(families) <= 4, "callers cannot grow a metric"
    client.leave()


async def test_as_a_name_the_wildcard_passes_on(bench: Bench) -> None:
    """Any name goes through, the model server says that it does not know it, and its 404 is passed on."""
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url, model="*")
    client = await served.open()
    for text in STRINGS:
        client, reply = await served.ask_on(client, post(chat(model=text)))
        assert reply.status in (400, 404), f"{text!r}: {reply.status} {reply.body!r}"
        assert reply.error["message"]
    client.leave()


@pytest.mark.parametrize("name", ["x-request-id", "authorization", "x-api-key", "user-agent", "content-type", "accept"])
async def test_as_a_header_value(bench: Bench, name: str) -> None:
    """Values that HTTP allows (no control bytes); hyper answers others by itself."""
    upstream = await bench.mock(tokens=1)
    served = await bench.gateway(upstream.url)
    client = await served.open()
    sendable = [text for text in STRINGS if not any(ord(c) < 32 or ord(c) == 127 for c in text)]
    assert len(sendable) > 400
    for text in sendable:
        client, reply = await served.ask_on(client, post(chat(), headers=[(name, text)]))
        assert reply.status in (200, 400, 415), f"{text!r}: {reply.status} {reply.body!r}"
        if reply.status >= 400:
            assert reply.error["message"]
    client.leave()


async def test_as_a_path(bench: Bench) -> None:
    upstream = await bench.mock(tokens=1)
    served = await bench.gateway(upstream.url)
    client = await served.open()
    plain = [
        text for text in STRINGS if text and all(33 <= ord(c) < 127 for c in text) and not set(text) & set('#?"<>')
    ]
    assert len(plain) > 100
    for text in plain:
        client, reply = await served.ask_on(client, post(chat(), f"/v1/{text}"))
        assert reply.status in (400, 404), f"{text!r}: {reply.status}"
    assert upstream.asked == 0
    client.leave()
