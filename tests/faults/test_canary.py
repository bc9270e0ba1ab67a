"""No credential shows anywhere: a secret in every slot, every kind of error, then a search through all that is written.

Searched: access log, standard output and error of the supervisor and its workers, error bodies and headers, /metrics,
/debug/requests, command lines as `ps` shows them, and the environments of child processes.
"""

import asyncio
import base64
import json
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from backends.mock import Fault
from backends.mock.record import fingerprint
from loadtest.rig import Bench, Conversation, chat, post
from loadtest.rig.node import until

CANARY = "sk-canary-" + "d3adb33f" * 4

#: Faults of the model server, the statuses that concern our key among them.
FAULTS: tuple[Fault | None, ...] = (
    None,
    *(Fault(status=status) for status in (400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 529)),
    Fault(status=401, error_body="html"),
    Fault(status=500, error_body="text"),
    Fault(die="accept"),
    Fault(die="pre", how="rst"),
    Fault(stall_after="head"),
    Fault(cut_after=2),
    Fault(bad_json_event=2),
    Fault(in_band_error=2),
    Fault(garbage=True),
    Fault(gzip=True),
    Fault(big_headers=300_000),
    Fault(header_injection=True),
    Fault(short_body=10),
    Fault(status=302, headers={"location": "http://evil.example/"}),
    Fault(refuse_stream_options=True),
    Fault(headers={"x-echo": CANARY, "set-cookie": CANARY}),
)


class World:
    """A gateway process with a canary in every slot, before a mock in this process."""

    def __init__(self, node: Any, upstream: Any, foreign: str) -> None:
        self.node = node
        self.upstream = upstream
        self.foreign = foreign  # a key that is not known here, as callers mistype them
        self.port = urlsplit(node.url).port
        self.replies: list[bytes] = []

    async def ask(self, request: bytes) -> None:
        assert self.port is not None
        client = await Conversation.open(self.port)
        try:
            await client.ask(request)
        except (ConnectionError, TimeoutError):
            pass  # whatever came is searched all the same
        self.replies.append(b"".join(data for _, data in client.reads))
        client.leave()


@pytest.fixture
async def world(bench: Bench, gateway_process: Any) -> World:
    upstream = await bench.mock()
    models = [
        {"name": "llama", "endpoints": [endpoint(upstream.url)]},
        {"name": "tls", "endpoints": [endpoint(f"https://127.0.0.1:{upstream.port}/v1")]},
        {"name": "gone", "endpoints": [endpoint("http://127.0.0.1:9/v1")]},
        {"name": "nowhere", "endpoints": [endpoint("http://no-such-host.invalid/v1")]},
    ]
    timeouts = {"first_byte": 0.3, "idle": 0.5, "connect": 0.5}
    given = {"models": models, "timeouts": timeouts}
    node = await asyncio.to_thread(gateway_process, given, {"UPSTREAM_KEY": CANARY})
    return World(node, upstream, "fp-00000000-" + secrets.token_hex(32))


def endpoint(url: str) -> dict[str, Any]:
    return {"url": url, "tier": "L1", "api_key": "${UPSTREAM_KEY}"}


async def run_the_error_matrix(world: World) -> None:
    key = world.node.key
    for fault in FAULTS:
        world.upstream.server.script([fault] if fault is not None else [])
        for stream in (False, True):
            await world.ask(chat(key=key, stream=stream))
    for model in ("tls", "gone", "nowhere", "unknown"):
        await world.ask(chat(key=key, model=model))
    for wrong in (world.foreign, key[:-1], key + "x", f"{key} {key}", "", key.upper()):
        await world.ask(chat(key=wrong))
    for headers in ([("x-api-key", key)], [("x-api-key", world.foreign)], [("authorization", f"Basic {key}")]):
        await world.ask(post({"model": "llama"}, headers=headers))
    both = [("authorization", f"Bearer {key}"), ("x-api-key", world.foreign)]
    await world.ask(post({"model": "llama"}, headers=both))
    for body in (b"{", b"", b"[]", b'{"model": 1}', b'{"model":"llama","model":"x"}'):
        await world.ask(post(body, key=key))
    await world.ask(post({}, "/v1/none", key=key))
    await world.ask(post({}, key=key, method="PUT"))
    await world.ask(b"\x00\xff" + key.encode() + b"\r\n\r\n")
    await leave_in_the_middle(world)


async def leave_in_the_middle(world: World) -> None:
    assert world.port is not None
    world.upstream.server.script([])
    client = await Conversation.open(world.port)
    client.send(chat({"rate": 20.0, "tokens": 1000}, key=world.node.key, stream=True))
    await client.events(2)
    client.leave("rst")


def spellings(world: World) -> Iterator[bytes]:
    """Each secret as it is, as base64, and its unmistakable part."""
    pepper = (world.node.folder / "state" / "pepper").read_bytes()
    yield from (pepper, pepper.hex().encode(), base64.b64encode(pepper)[:40])
    for secret in (CANARY, world.node.key, world.foreign):
        yield from (secret.encode(), base64.b64encode(secret.encode())[:-4], secret[-24:].encode())


def written(world: World) -> dict[str, bytes]:
    """Everything the gateway has written or shows."""
    node = world.node
    family = [psutil.Process(node.process.pid), *node.children()]
    places = {
        "access log": node.log.read_bytes(),
        "output": "\n".join(node.lines).encode(),
        "metrics": node.admin("/metrics").encode(),
        "requests": node.admin("/debug/requests").encode(),
        "ps": b"\n".join(Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in family),
        "answers": b"\n".join(world.replies),
    }
    for child in node.children():
        places[f"environment of {child.pid}"] = Path(f"/proc/{child.pid}/environ").read_bytes()
    return places


def search(world: World) -> list[tuple[str, bytes]]:
    found = [(place, data, secret) for place, data in written(world).items() for secret in spellings(world)]
    return [(place, secret) for place, data, secret in found if secret in data]


def statuses(world: World) -> set[int]:
    """Those in the access log by now."""
    return {line["status"] for line in world.node.access_lines(2 * len(FAULTS))}


async def test_no_secret_is_written_anywhere(world: World) -> None:
    await run_the_error_matrix(world)
    running = await Conversation.open(world.port)
    running.send(chat({"rate": 20.0, "tokens": 1000}, key=world.node.key, stream=True))
    await running.events(2)
    await asyncio.to_thread(until, lambda: statuses(world) >= {200, 400, 401, 404, 502, 503, 504})
    assert await asyncio.to_thread(search, world) == []
    assert json.loads(await asyncio.to_thread(world.node.admin, "/debug/requests"))
    running.leave()


async def test_the_model_server_is_sent_our_key_and_not_the_callers(world: World) -> None:
    await world.ask(chat(key=world.node.key))
    (record,) = await world.upstream.server.wait_records(1)
    assert dict(record.headers)["authorization"] == fingerprint(f"Bearer {CANARY}")
    assert "x-api-key" not in dict(record.headers)


async def test_no_secret_is_written_by_reload_crash_or_end(world: World) -> None:
    """A file that spells the key out and is refused, dying workers, SIGTERM."""
    node = world.node
    text = node.path.read_text()
    broken = text.replace("${UPSTREAM_KEY}", CANARY).replace("tier: L1", f"tier: L1\n    api_kye: {CANARY}", 1)
    node.path.write_text(broken)
    node.process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(node.line, "settings not reloaded")
    node.path.write_text(text)
    for number in (signal.SIGABRT, signal.SIGKILL):
        (worker,) = await asyncio.to_thread(node.children)
        worker.send_signal(number)
        await asyncio.to_thread(worker.wait, 10)
        await asyncio.to_thread(restarted, node)
    assert await asyncio.to_thread(search, world) == []
    node.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(node.process.wait, 20)
    output = "\n".join(node.lines).encode()
    assert output
    assert not [secret for secret in spellings(world) if secret in output]


async def test_the_search_finds_what_is_planted(world: World) -> None:
    """A search that finds nothing must be able to find something: in a file, in an answer, in the output."""
    assert await asyncio.to_thread(search, world) == []
    with world.node.log.open("a") as log:
        log.write(base64.b64encode(CANARY.encode()).decode() + "\n")
    world.replies.append(world.node.key.encode())
    world.node.lines.append(world.foreign)
    found = await asyncio.to_thread(search, world)
    assert {place for place, _ in found} == {"access log", "answers", "output"}


def restarted(node: Any) -> None:
    """Returns once a worker is there and takes requests."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        try:
            node.admin("/readyz")
        except OSError:  # urllib's errors are ones
            time.sleep(0.05)
            continue
        return
    raise AssertionError("no worker came back")
