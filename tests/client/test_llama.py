"""Against a real model server: llama.cpp with a tiny random model, at temperature 0 with a seed, equal through.

The server answers alike only when it works on one request at a time (batching changes the rounding), so every case
runs alone.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LLAMA = Path(__file__).with_name("llama.py")
MODEL = "tiny"
FIXED = {"model": MODEL, "temperature": 0, "seed": 1}
HELLO = [{"role": "user", "content": "Permission is hereby granted"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 5}}, "required": ["city"],
           "additionalProperties": False}  # fmt: skip
SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": WEATHER}}


@pytest.fixture(scope="module")
def llama(launch_for_module: Any) -> Callable[..., str]:
    """Starts the server with the given flags and returns its base URL."""
    assert importlib.util.find_spec("xllamacpp"), "the tests need xllamacpp: install fastpath-gateway[test]"
    return lambda *flags: launch_for_module.program(str(LLAMA), *flags).line("serving on").split()[-1]


@pytest.fixture(scope="module")
def servers(llama: Callable[..., str]) -> dict[str, str]:
    """One that writes and one that embeds: llama.cpp does one or the other."""
    return {MODEL: llama(), "vectors": llama("--embeddings")}


@pytest.fixture(scope="module")
def through(servers: dict[str, str], start_gateway: Any, open_side: Callable[[str, str], Any]) -> Any:
    """Both servers behind one gateway."""
    models = [{"name": name, "endpoints": [{"url": url, "tier": "L1"}]} for name, url in servers.items()]
    node = start_gateway(models)
    return open_side(node.url, node.key)


@pytest.fixture(scope="module")
def direct(servers: dict[str, str], open_side: Callable[[str, str], Any]) -> dict[str, Any]:
    """Straight to each, by the name of its model."""
    return {name: open_side(url, "none") for name, url in servers.items()}


def chat(side: Any, **more: Any) -> Any:
    return side.client.chat.completions.create(**{"messages": HELLO, "max_tokens": 24} | FIXED | more)


def stream(side: Any, **more: Any) -> Any:
    return list(chat(side, stream=True, **more))


async def stream_async(side: Any) -> list[Any]:
    asked = {"messages": HELLO, "max_tokens": 24, "stream": True} | FIXED
    return [chunk async for chunk in await side.aio.chat.completions.create(**asked)]


def complete(side: Any, **more: Any) -> Any:
    answer = side.lenient().completions.create(**{"prompt": "Permission", "max_tokens": 9} | FIXED | more)
    return list(answer) if "stream" in more else answer


def respond(side: Any, **more: Any) -> Any:
    asked = {"model": MODEL, "input": "Permission", "temperature": 0, "max_output_tokens": 9}
    answer = side.lenient().responses.create(**asked, **more)
    return list(answer) if "stream" in more else answer


def post(side: Any, path: str, **more: Any) -> Any:
    """Over plain HTTP; an event stream as its lines, without the empty one that llama.cpp has behind its last event."""
    response = side.http.post(path, json={"messages": HELLO, "max_tokens": 9} | FIXED | more)
    text = response.text.rstrip("\n").splitlines()
    lines = [json.loads(line[6:]) if line.startswith("data: {") else line for line in text]
    return response.status_code, lines if more.get("stream") else response.json()


TABLE: dict[str, Callable[[Any], Any]] = {
    "chat": chat,
    "chat, async": lambda s: s.wait(s.aio.chat.completions.create(messages=HELLO, max_tokens=24, **FIXED)),
    "chat, raw": lambda s: s.client.chat.completions.with_raw_response.create(messages=HELLO, **FIXED).parse(),
    "chat, n": lambda s: chat(s, n=2),
    "chat, stop": lambda s: chat(s, stop=["e"]),
    "chat, logprobs": lambda s: chat(s, logprobs=True, top_logprobs=2),
    "chat, json schema": lambda s: chat(s, response_format=SCHEMA, max_tokens=64),
    "chat, its own fields": lambda s: chat(s, extra_body={"top_k": 3, "min_p": 0.1, "repeat_penalty": 1.5}),
    "chat, stream": stream,
    "chat, async stream": lambda s: s.wait(stream_async(s)),
    "chat, stream with usage": lambda s: stream(s, stream_options={"include_usage": True}),
    "chat, stream with logprobs": lambda s: stream(s, logprobs=True),
    "chat, stream over plain HTTP": lambda s: post(s, "chat/completions", stream=True),
    "chat, a prompt that is too long": lambda s: chat(s, messages=[{"role": "user", "content": "word " * 5_000}]),
    "chat, a grammar that is none": lambda s: chat(s, extra_body={"grammar": "root ::= ("}),
    "completions": complete,
    "completions, prompts": lambda s: complete(s, prompt=["Permission", "is"]),
    "completions, tokens": lambda s: complete(s, prompt=[5, 6, 7]),
    "completions, stream": lambda s: complete(s, stream=True),
    "responses": respond,
    "responses, stream": lambda s: respond(s, stream=True),
    "messages": lambda s: post(s, "messages"),
    "messages, stream": lambda s: post(s, "messages", stream=True),
    "messages, count_tokens": lambda s: post(s, "messages/count_tokens"),
}


@pytest.mark.parametrize("name", TABLE)
def test_equal(same: Callable[..., Any], direct: dict[str, Any], through: Any, name: str) -> None:
    assert same(TABLE[name], direct[MODEL], through)


@pytest.mark.parametrize("coding", ["float", "base64"])
def test_embeddings_are_equal(same: Callable[..., Any], direct: dict[str, Any], through: Any, coding: str) -> None:
    def embed(side: Any) -> Any:
        texts = ["Permission", "is hereby granted"]
        return side.lenient().embeddings.create(model="vectors", input=texts, encoding_format=coding)

    assert len(same(embed, direct["vectors"], through)["data"]) == 2


def test_answers_say_something(through: Any) -> None:
    whole = chat(through)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens == 24
    told = "".join(chunk.choices[0].delta.content or "" for chunk in stream(through))
    assert told == whole.choices[0].message.content


def test_the_list_of_models_is_the_gateways_own(direct: dict[str, Any], through: Any) -> None:
    listed = through.client.models.list()
    assert [model.id for model in listed] == [MODEL, "vectors"]
    straight = direct[MODEL].client.models.list().data[0]
    assert (listed.data[0].id, listed.data[0].object) == (straight.id, straight.object)
