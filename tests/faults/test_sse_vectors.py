"""The OpenAI vectors of tests/corpora/sse-vectors through real sockets: whole, byte by byte, cut at random places.

What the gateway makes of each kind of outcome:

    corpus outcome      | with a second endpoint             | without one
    --------------------+------------------------------------+------------------------------------------------
    complete            | 200, same text, one [DONE]         | the same
    aborted, text sent  | text, in-band error, no [DONE]     | the same: nothing is retried after a content byte
    aborted, no text    | 200 from the second endpoint       | 502 upstream_error
    error (text sent)   | text, the error in-band, no [DONE] | the same
    retryable           | 200 from the second endpoint       | 502 upstream_error
    convert-or-retry    | 200 from the second endpoint       | 502 upstream_error (nothing is converted)
    complete-or-error   | text, in-band error, no [DONE]: an event that is not JSON breaks the stream and is never
    (bad JSON)          | forwarded; what came before it stays delivered
"""

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from backends.mock import Fault
from fastpath.settings import Health
from loadtest.rig import Bench, Reply, chat

CORPUS = Path(__file__).parent.parent / "corpora" / "sse-vectors" / "vectors.jsonl"
VECTORS = [vector for line in CORPUS.read_text().splitlines() if (vector := json.loads(line))["class"] == "openai"]
RANDOM_CUTS = 5
#: Longer vectors are cut into pieces of 64 KiB instead of bytes: 2 MiB of segments would be minutes.
LONG = 65536


def seen_as(vector: dict[str, Any]) -> str:
    """complete | broken | next: the row of the table above."""
    match vector["outcome"], bool(vector["text"]):
        case "complete", _:
            return "complete"
        case (("aborted" | "error" | "complete-or-error"), True):
            return "broken"
        case (("aborted" | "retryable" | "convert-or-retry"), _):
            return "next"
    raise AssertionError(f"the table has no row for {vector['outcome']}")


def framed(body: bytes, content_type: str, how: str) -> bytes:
    """The vector as a response: with its length, in chunks of its own, or until the connection ends."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + content_type.encode() + b"\r\n"
    if how == "length":
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    if how == "chunked":
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
        return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"\r\n" + body


def cuts(body: bytes, way: str) -> list[int | tuple[int, ...]]:
    """The ways to cut a response into segments: none, everywhere, or some random places (seeded)."""
    if way == "whole":
        return [0]
    if way == "bytes":
        return [1 if len(body) < LONG else LONG]
    rand = random.Random(len(body))
    return [tuple(sorted(rand.sample(range(1, len(body)), rand.randint(1, 12)))) for _ in range(RANDOM_CUTS)]


@pytest.mark.parametrize("way", ["whole", "bytes", "random"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
async def test_vector(bench: Bench, vector: dict[str, Any], way: str) -> None:
    first, second = await bench.mock(), await bench.mock()
    # Whatever it says, it is asked again: what is tried here is one answer.
    served = await bench.gateway(first.url, second.url, health=Health(out=0.0001, out_max=0.0001))
    alone = await bench.gateway(first.url)
    sound = await served_text(await bench.gateway(second.url))
    body = base64.b64decode(vector["b64"])
    content_type = "application/json" if vector["outcome"] == "convert-or-retry" else "text/event-stream"
    for framing in ("length", "chunked", "close"):
        response = framed(body, content_type, framing)
        for split in cuts(response, way):
            first.script(Fault(raw=response, split=split))
            asked = second.asked
            check(vector, await served.ask(chat(stream=True)), second.asked - asked, sound)
            check_alone(vector, await alone.ask(chat(stream=True)))


async def served_text(served: Any) -> str:
    reply: Reply = await served.ask(chat(stream=True))
    return reply.text


def check(vector: dict[str, Any], reply: Reply, others: int, sound: str) -> None:
    assert reply.status == 200
    assert reply.whole
    if seen_as(vector) == "next":
        assert (reply.text, reply.done, others) == (sound, 1, 1)
        return
    assert others == 0
    check_delivered(vector, reply)


def check_alone(vector: dict[str, Any], reply: Reply) -> None:
    if seen_as(vector) != "next":
        check_delivered(vector, reply)
        return
    assert reply.status == 502
    assert reply.error["code"] == "upstream_error"


def check_delivered(vector: dict[str, Any], reply: Reply) -> None:
    whole = seen_as(vector) == "complete"
    assert reply.done == (1 if whole else 0)
    assert (reply.in_band is None) == whole
    for event in reply.events:
        assert event == b"[DONE]" or json.loads(event), "what is no JSON is never forwarded"
    text = vector["text"] if vector["outcome"] != "complete-or-error" else "Hi"
    assert reply.text == text


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["usage"] is not None and v["outcome"] == "complete"],
                         ids=lambda vector: vector["id"])  # fmt: skip
async def test_usage_of_a_vector(bench: Bench, vector: dict[str, Any]) -> None:
    """Explicit zeros count, cumulative usage is not summed, and none of it is an estimate."""
    first = await bench.mock()
    served = await bench.gateway(first.url)
    first.script(Fault(raw=framed(base64.b64decode(vector["b64"]), "text/event-stream", "length")))
    await served.ask(chat(stream=True))
    (record,) = await served.records.wait(1)
    assert [record.input_tokens, record.output_tokens] == vector["usage"]
    assert not record.estimated
