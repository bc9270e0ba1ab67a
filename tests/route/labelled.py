"""A thousand requests as callers write them, each with the endpoint that it should get and a word for what it is.

Bodies are real JSON, so that what is wanted is read and not given. Some are spelt in ways that are known to hide what
they want: they are labelled with what would be right, and count as misses.
"""

# ruff: noqa: E501  # rows of a table
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from fastpath.settings import Endpoint
from tests.route.lineups import place

POOL: tuple[Endpoint, ...] = (
    place("rack", "L1", 1.0, quality=0.7, ttft=0.4, context=32_768, supports=("tools",), languages=("en",)),
    place("farm", "L1", 2.0, quality=0.7, ttft=0.4, context=32_768, supports=("tools", "json_schema"), languages=("zh", "en")),
    place("cloud", "L2", 4.0, quality=0.9, ttft=0.3, context=200_000,
          supports=("tools", "json_schema", "vision", "audio", "reasoning")),
)  # fmt: skip
WORDS = "the model answers a question about some tables and images with a short text".split()  # noqa: SIM905
CHINESE = "请把下面的内容翻译成通俗易懂的中文并且说明原因然后给出例子谢谢"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 20_000}}
LINK = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklG" * 10_000, "format": "wav"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


class Labelled(NamedTuple):
    label: str
    sort: str
    body: bytes
    data_class: str = "P2"


def prose(random: Random, words: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(words))


def said(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | more


def encode(body: dict[str, Any], ascii: bool = False) -> bytes:
    return json.dumps(body, ensure_ascii=ascii).encode()


Maker = Callable[[Random], Labelled]
MAKERS: tuple[Maker, ...] = (
    lambda r: Labelled("rack", "plain", encode(said(prose(r, r.randint(1, 300))))),
    lambda r: Labelled("rack", "plain, sensitive", encode(said(prose(r, 50))), "P0"),
    lambda r: Labelled("rack", "plain, streamed", encode(said(prose(r, 50), stream=True, temperature=0.5))),
    lambda r: Labelled("rack", "tools", encode(said(prose(r, 40), tools=[TOOL] * r.randint(1, 5)))),
    lambda r: Labelled("rack", "tools, none in the list", encode(said(prose(r, 40), tools=[]))),
    lambda r: Labelled("farm", "schema", encode(said(prose(r, 40), response_format=SCHEMA))),
    lambda r: Labelled("farm", "schema before the messages", encode({"response_format": SCHEMA} | said(prose(r, 40)))),
    lambda r: Labelled("farm", "JSON", encode(said(prose(r, 40), response_format={"type": "json_object"}))),
    lambda r: Labelled("rack", "text by name", encode(said(prose(r, 40), response_format={"type": "text"}))),
    lambda r: Labelled("farm", "schema, sensitive", encode(said(prose(r, 40), response_format=SCHEMA)), "P1"),
    lambda r: Labelled("cloud", "picture inside", encode(said([{"type": "text", "text": prose(r, 9)}, PICTURE]))),
    lambda r: Labelled("cloud", "picture by link", encode(said([LINK]))),
    lambda r: Labelled("cloud", "sound", encode(said([{"type": "text", "text": "hear"}, SOUND]))),
    lambda r: Labelled("rack", "parts of text", encode(said([{"type": "text", "text": prose(r, 30)}]))),
    lambda r: Labelled("cloud", "reasoning", encode(said(prose(r, 40), reasoning_effort="high"))),
    lambda r: Labelled("cloud", "long", encode(said(prose(r, 40_000)))),
    lambda r: Labelled("cloud", "long answer", encode(said(prose(r, 40), max_tokens=60_000))),
    lambda r: Labelled("farm", "Chinese", encode(said(CHINESE * r.randint(1, 40)))),
    lambda r: Labelled("farm", "Chinese, sensitive", encode(said(CHINESE)), "P0"),
    lambda r: Labelled("rack", "talks of tools", encode(said('why is "tools": [{}] and "response_format" in "json_schema"?'))),
    lambda r: Labelled("rack", "talks of pictures", encode(said([{"type": "text", "text": '{"image_url": "x"} "input_audio"'}]))),
    lambda r: Labelled("rack", "tool results", encode(said("x") | {"messages": conversation(r)})),
    lambda r: Labelled("rack", "schema of a tool", encode(said(prose(r, 9), tools=[TOOL | {"response_format": SCHEMA}]))),
    lambda r: Labelled("rack", "ordinary talk", encode(said(prose(r, 120), user="u", seed=r.randint(1, 9)))),
    lambda r: Labelled("farm", "Chinese spelt with escapes", encode(said(CHINESE * 3), ascii=True)),
)  # fmt: skip


def conversation(random: Random) -> list[dict[str, Any]]:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    return [
        {"role": "user", "content": prose(random, 20)},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": prose(random, 50), "tool_call_id": "c"},
    ]


def labelled(count: int = 1_000, seed: int = 5) -> Iterator[Labelled]:
    """Every sort as often as any other."""
    random = Random(seed)
    for number in range(count):
        yield MAKERS[number % len(MAKERS)](random)
