"""tests/corpora/openai-malformed on real sockets, against the oracle of its README (less the ledger).

The corpus was written for an HTTP library that any client may use; what hyper decides before the gateway hears of a
request is named in `HYPER`.
"""

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.mock import Fault
from fastpath.settings import Endpoint, Key, Model
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher, new_token
from loadtest.rig import Bench, Reply, Upstream
from loadtest.rig.bench import Served, make_settings

CORPUS = Path(__file__).parent.parent / "corpora" / "openai-malformed" / "requests.jsonl"
VECTORS = [json.loads(line) for line in CORPUS.read_text().splitlines()]
#: Vectors that hyper may answer by itself, without JSON: none of this corpus.
HYPER: frozenset[str] = frozenset()
NO_KEY = ("auth-", "x-api-key-only", "both-auth")
MIB = 1 << 20


def stub_answer(content_type: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (content_type, len(body)) + body


#: The stub takes whatever reaches it: what must be refused, the gateway refuses.
WHOLE = stub_answer(b"application/json", b'{"id":"x","object":"chat.completion","choices":[]}')
STREAM = stub_answer(b"text/event-stream", b'data: {"choices":[{"index":0,"delta":{}}]}\n\ndata: [DONE]\n\n')


@dataclass
class World:
    """A gateway with three keys before one mock. restricted may use none of the corpus' models but gpt-test."""

    served: Served
    upstream: Upstream
    keys: dict[str, str]


@pytest.fixture
async def world(bench: Bench, tmp_path: Path) -> World:
    keys = {name: new_token().reveal() for name in ("KEY_A", "KEY_B", "RESTRICTED_KEY")}
    hasher = KeyHasher(make_pepper(tmp_path / "state"))
    upstream = await bench.mock()
    settings = make_settings(
        [Model(name="gpt-test", endpoints=(Endpoint(url=upstream.url, name="e0", tier="L1"),))],
        keys=tuple(Key(name=name.lower(), hash=hasher.hash_text(token)) for name, token in keys.items()),
        state_dir=str(tmp_path / "state"),
    )
    return World(await bench.serve(settings), upstream, keys)


def request_of(vector: dict[str, Any], keys: dict[str, str]) -> bytes:
    body = base64.b64decode(vector["b64"] or "")
    fields = {"host": "gateway", "content-length": str(len(body))} | vector["headers"]
    if "authorization" not in fields and not vector["id"].startswith(NO_KEY):
        fields["authorization"] = f"Bearer {keys['KEY_A']}"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    for name, token in keys.items():
        head = head.replace(f"@@{name}@@", token)
    return f"{vector['method']} {vector['path']} HTTP/1.1\r\n{head}\r\n".encode() + body


def prepare(world: World, vector: dict[str, Any]) -> bytes:
    """The request of a vector, and a stub that will answer it as it asks."""
    streams = b'"stream": true' in base64.b64decode(vector["b64"] or "")
    world.upstream.script(Fault(raw=STREAM if streams else WHOLE))
    return request_of(vector, world.keys)


def credentials(request: bytes) -> list[bytes]:
    """What the request sent as credentials, long enough to be told from ordinary words."""
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    values = [line.partition(b": ")[2] for line in lines if line.startswith((b"authorization", b"x-api-key"))]
    return [word for value in values for word in value.split() if len(word) > 10]


def assert_well_formed(reply: Reply, path: str) -> None:
    """An error object of the caller's dialect."""
    if path.startswith("/v1/messages"):
        assert reply.json["type"] == "error"
        assert set(reply.json["error"]) == {"type", "message"}
    else:
        assert reply.error["message"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
async def test_vector(world: World, vector: dict[str, Any]) -> None:
    request = prepare(world, vector)
    started = time.monotonic()
    reply = await world.served.ask(request)
    assert time.monotonic() - started < 1.0
    assert reply.status in vector["status"], reply.body
    assert reply.status < 500
    if reply.status >= 400 and vector["id"] not in HYPER:
        assert_well_formed(reply, vector["path"])
        assert world.upstream.asked == 0, "a refused request is not sent on"
    else:
        assert world.upstream.asked == 1
    for secret in credentials(request):
        assert secret not in reply.body
    (record,) = await world.served.records.wait(1)
    assert record.status == reply.status
    if reply.status >= 400:
        assert record.input_tokens is None
        assert record.output_tokens is None


async def test_the_whole_set_on_kept_connections_leaves_nothing_behind(world: World) -> None:
    """The set five times over one connection at a time: memory grows by less than 32 MiB, and nothing is in flight."""
    process = psutil.Process()
    await ask_all(world)
    before = process.memory_info().rss
    for _ in range(4):
        await ask_all(world)
    assert process.memory_info().rss - before < 32 * MIB
    assert world.served.in_flight == []


async def ask_all(world: World) -> None:
    client = await world.served.open()
    for vector in VECTORS:
        client, reply = await world.served.ask_on(client, prepare(world, vector))
        assert reply.status < 500
    client.leave()
