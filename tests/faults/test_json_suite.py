"""tests/corpora/json-suite (JSONTestSuite) on real sockets: as the whole body, and as a value inside a chat request.

A text that every JSON parser must reject is a 400. One that must or may be accepted is never a 5xx, and if the gateway
passes it on, the model server gets it byte by byte.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.rig import Bench, Reply, post

CORPUS = Path(__file__).parent.parent / "corpora" / "json-suite" / "json_parsing.jsonl"
GROUP = 40
#: The text that the corpus describes instead of holding it: n_structure_open_array_object.json.
LONGEST = b'[{"":' * 50_000 + b"\n"


def texts() -> list[tuple[str, str, bytes]]:
    """(name, accept | reject | either, text)."""
    rows = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    return [
        (row["name"], row["expect"], LONGEST if row["b64"] is None else base64.b64decode(row["b64"])) for row in rows
    ]


def groups() -> Iterator[list[tuple[str, str, bytes]]]:
    """The corpus in parts, so that a failure names a part and the parts share a gateway."""
    rows = texts()
    for start in range(0, len(rows), GROUP):
        yield rows[start : start + GROUP]


def inside(text: bytes) -> bytes:
    return b'{"model":"llama","messages":[{"role":"user","content":"hi","x":' + text + b"}]}"


def assert_refused(reply: Reply, name: str) -> None:
    assert reply.status == 400, f"{name}: {reply.status} {reply.body!r}"
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("group", list(groups()), ids=lambda group: group[0][0])
async def test_as_the_whole_body(bench: Bench, group: list[tuple[str, str, bytes]]) -> None:
    """None of the texts is a chat request, so all are refused, and nothing is sent on."""
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url)
    client = await served.open()
    for name, _, text in group:
        client, reply = await served.ask_on(client, post(text))
        assert_refused(reply, name)
    assert upstream.asked == 0
    client.leave()


@pytest.mark.parametrize("group", list(groups()), ids=lambda group: group[0][0])
async def test_as_a_value(bench: Bench, group: list[tuple[str, str, bytes]]) -> None:
    upstream = await bench.mock()
    served = await bench.gateway(upstream.url)
    client = await served.open()
    passed = []
    for name, expect, text in group:
        body, asked = inside(text), upstream.asked
        client, reply = await served.ask_on(client, post(body))
        if upstream.asked > asked:  # the model server may be stricter than we are: a lone surrogate, say
            assert expect != "reject", f"{name}: passed on"
            passed.append(hashlib.sha256(body).hexdigest())
        if reply.status == 400:
            assert_refused(reply, name)
            assert expect != "accept", f"{name}: {reply.body!r}"
            continue
        assert reply.status == 200, f"{name}: {reply.status} {reply.body!r}"
    records = await upstream.server.wait_records(len(passed))
    assert [record.sha256 for record in records] == passed
    client.leave()
