"""F45: a caller repeats a request because its answer was lost on the way."""

from pathlib import Path
from typing import Any

import pytest

from fastpath.settings import Endpoint, Key, Model
from fastpath.settings.pepper import make_pepper
from fastpath.settings.tenancy import ModelPrice
from fastpath.settings.token import KeyHasher, new_token
from loadtest.faultd import Cut
from loadtest.rig import Bench, post
from loadtest.rig.bench import Served, make_settings
from loadtest.rig.conversation import Conversation


async def serve(bench: Bench, state: Path) -> tuple[Served, Any, str]:
    """A gateway with one key before one mock, and the key."""
    upstream = await bench.mock()
    token = new_token().reveal()
    key = Key(name="caller", hash=KeyHasher(make_pepper(state)).hash_text(token))
    price = ModelPrice(input=2.5, output=10.0)
    model = Model(name="llama", endpoints=(Endpoint(url=upstream.url, tier="L1"),), price=price)
    return await bench.serve(make_settings([model], keys=(key,), state_dir=str(state))), upstream, token


async def lose(port: int, request: bytes) -> None:
    """Sends a request whose answer is cut off."""
    client = await Conversation.open(port)
    client.send(request)
    assert await client.end() == "rst"
    assert client.reader.done == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
async def test_F45_an_answer_that_was_lost(bench: Bench, tmp_path: Path, stream: bool, keyed: bool) -> None:
    served, upstream, token = await serve(bench, tmp_path / "state")
    proxy, port = await bench.proxy(served.port)
    proxy.set_rules([Cut(after_bytes=30, how="rst")])
    headers = (("Idempotency-Key", "order-4711"),) if keyed else ()
    body = {"model": "llama", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    request = post(body, key=token, headers=headers)
    await lose(port, request)
    await served.records.wait(1)
    reply = await served.ask(request)
    while reply.status == 409:  # its answer is still being written
        assert reply.error["code"] == "in_progress"
        reply = await served.ask(request)
    assert reply.status == 200
    assert reply.header("idempotent-replayed") == ("true" if keyed else None)
    charged = [record for record in served.records.all if record.attempts]
    assert len(charged) == upstream.asked == (1 if keyed else 2)
    assert len([record for record in charged if record.cost_nano]) == (1 if keyed else len(charged))
