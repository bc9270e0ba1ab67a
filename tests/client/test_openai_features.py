"""Features x modes of chat completions with the official client: equal through the gateway and straight."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS, "strict": True}}
    for name in ("weather", "news")
]
CALL = {"id": "c0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "x", "days": 1}'}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PARAMETERS}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 4_000}}


class Place(BaseModel):
    city: str
    days: int


def ask(*contents: Any, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content} for content in contents or ("hello",)]
    return {"model": "llama", "messages": messages, **more}


def ask_after_a_call() -> dict[str, Any]:
    asked = ask(tools=TOOLS)
    answered = {"role": "tool", "tool_call_id": "c0", "content": "sunny"}
    asked["messages"] += [{"role": "assistant", "content": None, "tool_calls": [CALL]}, answered]
    return asked


FEATURES: dict[str, dict[str, Any]] = {
    "plain": ask(),
    "system and several turns": ask("one", "two", "three")
    | {"messages": [{"role": "system", "content": "be kind"}, *ask("one", "two")["messages"]]},
    "text of every script": ask("naïve 水 🙂 \u2028 \u0000 \\ \" ' </s>"),
    "a long prompt": ask("x" * 200_000),
    "n": ask(n=3),
    "max_completion_tokens": ask(max_completion_tokens=2),
    "stop": ask(stop=["e", " "]),
    "seed": ask(seed=7, temperature=0, top_p=0.5),
    "logprobs": ask(logprobs=True, top_logprobs=2),
    "tools": ask(tools=TOOLS),
    "tools in parallel": ask(tools=TOOLS, parallel_tool_calls=True),
    "tool_choice by name": ask(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "news"}}),
    "tool_choice none": ask(tools=TOOLS, tool_choice="none"),
    "the answer to a tool's result": ask_after_a_call(),
    "json mode": ask(response_format={"type": "json_object"}),
    "json schema": ask(response_format=SCHEMA),
    "an image": ask([{"type": "text", "text": "what is it?"}, IMAGE]),
    "every other field": ask(
        user="u", metadata={"a": "b"}, presence_penalty=0.5, logit_bias={"1": 2}, service_tier="auto", store=False
    ),
    "fields nobody knows": ask(extra_body={"top_k": 3, "guided_regex": "[a-z]+", "deep": {"a": [1.0, None, "\u00e9"]}}),
    "usage never told": ask(extra_body={"mock": {"usage": "none"}}),
    "usage in every chunk": ask(stream_options={"include_usage": True}, extra_body={"mock": {"usage": "every"}}),
}

STREAMED = frozenset({"usage in every chunk"})
"""Features that only a stream has."""


def create(side: Any, asked: dict[str, Any]) -> Any:
    return side.client.chat.completions.create(**asked)


def create_async(side: Any, asked: dict[str, Any]) -> Any:
    return side.wait(side.aio.chat.completions.create(**asked))


def head_of(response: Any) -> dict[str, Any]:
    """What a caller can rely on in the head; `date`, `server` and the server's own fields are its own business."""
    assert response.headers["x-request-id"]
    return {"status": response.status_code, "content-type": response.headers["content-type"]}


def create_raw(side: Any, asked: dict[str, Any]) -> Any:
    response = side.client.chat.completions.with_raw_response.create(**asked)
    return head_of(response), response.parse(), json.loads(response.content)


def create_open(side: Any, asked: dict[str, Any]) -> Any:
    with side.client.chat.completions.with_streaming_response.create(**asked) as response:
        return head_of(response), json.loads(b"".join(response.iter_bytes()))


def stream(side: Any, asked: dict[str, Any]) -> Any:
    return list(side.client.chat.completions.create(**asked, stream=True))


def stream_async(side: Any, asked: dict[str, Any]) -> Any:
    async def collect() -> list[Any]:
        return [chunk async for chunk in await side.aio.chat.completions.create(**asked, stream=True)]

    return side.wait(collect())


def stream_raw(side: Any, asked: dict[str, Any]) -> Any:
    with side.client.chat.completions.with_streaming_response.create(**asked, stream=True) as response:
        return head_of(response), [line_of(line) for line in response.iter_lines()]


def line_of(line: str) -> Any:
    """A line of the stream as it came, but for the JSON in it."""
    return json.loads(line.removeprefix("data: ")) if line.startswith("data: {") else line


def stream_with_usage(side: Any, asked: dict[str, Any]) -> Any:
    chunks = stream(side, asked | {"stream_options": {"include_usage": True}})
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert bool(told) == (asked.get("extra_body", {}).get("mock", {}).get("usage") != "none")
    return chunks


def stream_with_the_helper(side: Any, asked: dict[str, Any]) -> Any:
    with side.client.chat.completions.stream(**asked) as events:
        return list(events), events.get_final_completion()


def parse(side: Any, asked: dict[str, Any]) -> Any:
    return side.client.chat.completions.parse(**asked)


MODES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "sync": create,
    "async": create_async,
    "with_raw_response": create_raw,
    "with_streaming_response": create_open,
    "stream": stream,
    "async stream": stream_async,
    "raw stream": stream_raw,
    "stream with usage": stream_with_usage,
    "stream helper": stream_with_the_helper,
    "parse": parse,
}
STREAMS = frozenset({"stream", "async stream", "raw stream", "stream with usage", "stream helper"})

TABLE = [(feature, mode) for feature in FEATURES for mode in MODES if mode in STREAMS or feature not in STREAMED]


@pytest.mark.parametrize(("feature", "mode"), TABLE, ids=[f"{feature}, {mode}" for feature, mode in TABLE])
def test_equal(both: Callable[..., Any], feature: str, mode: str) -> None:
    asked = FEATURES[feature]
    usage_asked = mode == "stream with usage" or "stream_options" in asked
    found = both(lambda side: MODES[mode](side, asked), patched=mode in STREAMS and not usage_asked)
    assert found


def test_the_table_has_its_forty_cases() -> None:
    assert len(set(TABLE)) >= 40


def test_parsed_answers_are_objects(both: Callable[..., Any]) -> None:
    def run(side: Any) -> Any:
        answer = side.client.chat.completions.parse(**ask(), response_format=Place)
        assert isinstance(answer.choices[0].message.parsed, Place)
        with side.client.chat.completions.stream(**ask(), response_format=Place) as events:
            assert isinstance(events.get_final_completion().choices[0].message.parsed, Place)
        return answer

    both(run, patched=True, requests=(2, 2))
