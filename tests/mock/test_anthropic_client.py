"""The Messages API through its vendor's own client with strict validation: what it accepts is what the mock may say."""

import json

import anthropic
import jsonschema
import pytest

HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"name": name, "input_schema": SCHEMA} for name in ("weather", "news")]
PARALLEL = {"type": "auto", "disable_parallel_tool_use": False}


@pytest.fixture
async def server(start):
    return await start(tokens=6)


@pytest.fixture
async def client(server):
    base = f"http://127.0.0.1:{server.port}"
    async with anthropic.AsyncAnthropic(
        base_url=base, api_key="k", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def ask(client, **more):
    return client.messages.create(**{"model": "mock-model", "max_tokens": 50, "messages": HELLO} | more)


async def streamed(client, **more):
    """The message that a stream adds up to, as the client's own accumulator sees it."""
    body = {"model": "mock-model", "max_tokens": 50, "messages": HELLO} | more
    async with client.messages.stream(**body) as stream:
        return await stream.get_final_message()


async def test_a_message(client):
    message = await ask(client)
    assert message.stop_reason == "end_turn"
    assert message.content[0].text
    assert message.usage.output_tokens == 6


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"max_tokens": 2},
        {"tools": TOOLS},
        {"tools": TOOLS, "tool_choice": PARALLEL},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ],
)
async def test_a_stream_adds_up_to_the_whole_message(client, more):
    whole, pieces = await ask(client, **more), await streamed(client, **more)
    assert pieces.stop_reason == whole.stop_reason
    assert pieces.usage.output_tokens == whole.usage.output_tokens
    assert pieces.usage.output_tokens_details == whole.usage.output_tokens_details
    shown = [
        [block.model_dump(exclude={"id", "citations", "parsed_output", "caller"}) for block in each.content]
        for each in (whole, pieces)
    ]
    assert shown[0] == shown[1]


async def test_tools_side_by_side(client):
    message = await ask(client, tools=TOOLS, tool_choice=PARALLEL)
    assert message.stop_reason == "tool_use"
    assert [block.name for block in message.content] == ["weather", "news"]
    for block in message.content:
        jsonschema.validate(block.input, SCHEMA)
    assert len({block.id for block in message.content}) == 2


async def test_a_schema_is_kept_to(client):
    message = await ask(client, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    jsonschema.validate(json.loads(message.content[0].text), SCHEMA)


async def test_thinking_comes_first_and_is_counted(client):
    message = await ask(client, thinking={"type": "adaptive"})
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.usage.output_tokens_details.thinking_tokens > 0


async def test_tokens_are_counted(client):
    counted = await client.messages.count_tokens(model="mock-model", messages=HELLO)
    assert counted.input_tokens == (await ask(client)).usage.input_tokens


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"model": "other"}, anthropic.NotFoundError),
        ({"extra_body": {"temperature": 1.5}}, anthropic.BadRequestError),
        ({"messages": [{"role": "tool", "content": "x"}]}, anthropic.BadRequestError),
    ],
)
async def test_refusals(client, more, kind):
    with pytest.raises(kind) as caught:
        await ask(client, **more)
    assert caught.value.body["type"] == "error"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, anthropic.RateLimitError), (500, anthropic.InternalServerError), (529, anthropic.InternalServerError)],
)
async def test_failures(client, status, kind):
    with pytest.raises(kind) as caught:
        await ask(client, extra_body={"mock": {"status": status}})
    assert caught.value.status_code == status


async def test_an_error_in_a_stream(client):
    with pytest.raises(anthropic.APIStatusError) as caught:
        await streamed(client, extra_body={"mock": {"in_band_error": 4}})
    assert caught.value.body["error"]["type"] == "api_error"
