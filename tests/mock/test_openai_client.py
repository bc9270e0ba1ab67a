"""Every API through the official client with strict response validation: what it accepts is what the mock may say."""

import base64
import json
import math
import struct
import zlib
from array import array

import jsonschema
import openai
import pytest
from pydantic import BaseModel

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("weather", "news")]
HELLO = [{"role": "user", "content": "hello"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.fixture
async def client(start):
    mock = await start(tokens=6)
    base = f"http://127.0.0.1:{mock.port}/v1"
    async with openai.AsyncOpenAI(
        base_url=base, api_key="k", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def lenient(client):
    """The same client without strict validation, for the two answers its own types do not allow.

    It asks for embeddings in base64 and then rejects the text, and it wants a `finish_reason` in every chunk of a
    completion, where real servers send null until the last.
    """
    return client.copy(_extra_kwargs={"_strict_response_validation": False})


def chat(client, **more):
    return client.chat.completions.create(**{"model": "mock-model", "messages": HELLO} | more)


async def test_chat(client):
    answer = await chat(client)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 6
    assert answer._request_id.startswith("req_")


async def test_a_streamed_chat_says_what_the_whole_one_says(client):
    whole = await chat(client, n=2)
    chunks = [chunk async for chunk in await chat(client, n=2, stream=True, stream_options={"include_usage": True})]
    for index in (0, 1):
        choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(choice.delta.content or "" for choice in choices) == whole.choices[index].message.content
        assert choices[-1].finish_reason == "stop"
    assert whole.choices[0].message.content != whole.choices[1].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


async def test_content_parts_with_an_image_count_as_tokens(client):
    def usage_of(parts):
        return chat(client, messages=[{"role": "user", "content": parts}])

    text = {"type": "text", "text": "what is this?"}
    plain, pictured = await usage_of([text]), await usage_of([text, IMAGE])
    assert pictured.usage.prompt_tokens - plain.usage.prompt_tokens == 85


async def test_max_tokens_and_stop(client):
    short = await chat(client, max_completion_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
    whole = (await chat(client)).choices[0].message.content
    stopped = await chat(client, stop=whole[5:8])
    assert stopped.choices[0].message.content == whole[: whole.find(whole[5:8])]
    assert stopped.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stream", [True, False])
async def test_logprobs(client, stream):
    if stream:
        chunks = [chunk async for chunk in await chat(client, logprobs=True, top_logprobs=2, stream=True)]
        entries = [entry for chunk in chunks for choice in chunk.choices if choice.logprobs
                   for entry in choice.logprobs.content]  # fmt: skip
    else:
        entries = (await chat(client, logprobs=True, top_logprobs=2)).choices[0].logprobs.content
    assert len(entries) == 6
    assert all(bytes(entry.bytes).decode() == entry.token and len(entry.top_logprobs) == 2 for entry in entries)


@pytest.mark.parametrize(
    ("choice", "parallel", "names"),
    [
        ("auto", None, ["weather"]),
        ("required", True, ["weather", "news"]),
        ({"type": "function", "function": {"name": "news"}}, None, ["news"]),
        ("none", None, []),
    ],
)
async def test_tool_calls(client, choice, parallel, names):
    more = {} if parallel is None else {"parallel_tool_calls": parallel}
    answer = await chat(client, tools=TOOLS, tool_choice=choice, **more)
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == names
    for call in calls:
        jsonschema.validate(json.loads(call.function.arguments), PARAMETERS)
    assert answer.choices[0].finish_reason == ("tool_calls" if names else "stop")


async def test_streamed_tool_calls_join_to_the_same_arguments(client):
    whole = (await chat(client, tools=TOOLS, parallel_tool_calls=True)).choices[0].message.tool_calls
    joined = {}
    async for chunk in await chat(client, tools=TOOLS, parallel_tool_calls=True, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            joined.setdefault(part.index, [part.id, part.function.name, ""])[2] += part.function.arguments
    assert [(name, arguments) for _, name, arguments in joined.values()] == [
        (call.function.name, call.function.arguments) for call in whole
    ]
    assert all(identity.startswith("call_") for identity, _, _ in joined.values())


async def test_a_tool_result_is_answered_with_text(client):
    call = (await chat(client, tools=TOOLS)).choices[0].message
    messages = [*HELLO, call.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "sunny"}]  # fmt: skip
    assert (await chat(client, tools=TOOLS, messages=messages)).choices[0].message.content


class Weather(BaseModel):
    city: str
    degrees: float
    hours: list[int]


async def test_structured_output(client):
    answer = await client.chat.completions.parse(model="mock-model", messages=HELLO, response_format=Weather)
    assert isinstance(answer.choices[0].message.parsed, Weather)
    free = await chat(client, response_format={"type": "json_object"})
    assert isinstance(json.loads(free.choices[0].message.content), dict)


async def test_completions(client):
    def ask(**more):
        return client.completions.create(**{"model": "mock-model", "prompt": ["one", "two"]} | more)

    whole = await ask(n=2, logprobs=1)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    assert "".join(whole.choices[0].logprobs.tokens) == whole.choices[0].text
    chunks = [
        chunk
        async for chunk in await lenient(client).completions.create(
            model="mock-model", prompt=["one", "two"], n=2, stream=True, stream_options={"include_usage": True}
        )
    ]
    texts = ["".join(choice.text for chunk in chunks for choice in chunk.choices if choice.index == index)
             for index in range(4)]  # fmt: skip
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.index == 0]
    assert reasons == [None] * 5 + ["stop"]
    assert texts == [choice.text for choice in whole.choices]
    assert chunks[-1].usage == whole.usage
    assert (await ask(prompt=[1, 2, 3])).usage.prompt_tokens == 3
    assert (await ask(prompt="say", echo=True)).choices[0].text.startswith("say")


async def test_embeddings(client):
    def ask(**more):
        return client.embeddings.create(**{"model": "mock-model", "input": "one", "encoding_format": "float"} | more)

    first = (await ask(input=["one", "two"])).data
    assert [entry.index for entry in first] == [0, 1]
    assert first[0].embedding == (await ask()).data[0].embedding
    assert first[0].embedding != first[1].embedding
    assert len(first[0].embedding) == 64
    assert math.fsum(value * value for value in first[0].embedding) == pytest.approx(1.0, abs=1e-6)
    coded = (await lenient(client).embeddings.create(model="mock-model", input="one")).data[0].embedding
    assert coded == pytest.approx(first[0].embedding), "the client asks for base64 by itself and decodes it"
    assert len((await ask(dimensions=7)).data[0].embedding) == 7
    tokens = await ask(input=[[1, 2], [3]])
    assert (len(tokens.data), tokens.usage.prompt_tokens) == (2, 3)


async def test_embeddings_in_base64_are_little_endian_floats(mock):
    body = {"model": "mock-model", "input": "one", "dimensions": 3}
    plain = (await mock.fetch(body | {"encoding_format": "float"}, "/v1/embeddings")).json
    coded = (await mock.fetch(body | {"encoding_format": "base64"}, "/v1/embeddings")).json
    values = struct.unpack("<3f", base64.b64decode(coded["data"][0]["embedding"]))
    assert array("f", values) == array("f", plain["data"][0]["embedding"])


async def test_responses(client):
    answer = await client.responses.create(model="mock-model", input="hello", instructions="be kind")
    assert answer.status == "completed"
    assert answer.usage.output_tokens == 6
    events = [event async for event in await client.responses.create(
        model="mock-model", input="hello", instructions="be kind", stream=True)]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) == 6
    assert "".join(deltas) == answer.output_text == events[-1].response.output_text


async def test_responses_cut_by_the_limit_are_incomplete(client):
    answer = await client.responses.create(model="mock-model", input="hello", max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@pytest.mark.parametrize("stream", [True, False])
async def test_responses_call_functions(client, stream):
    tool = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
    asked = {"model": "mock-model", "input": [{"role": "user", "content": "hello"}], "tools": [tool]}
    if stream:
        events = [event async for event in await client.responses.create(**asked, stream=True)]
        deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        item = events[-1].response.output[0]
        assert "".join(deltas) == item.arguments
    else:
        item = (await client.responses.create(**asked)).output[0]
    assert (item.type, item.name) == ("function_call", "weather")
    jsonschema.validate(json.loads(item.arguments), PARAMETERS)


async def test_responses_in_a_schema(client):
    answer = await client.responses.parse(model="mock-model", input="hello", text_format=Weather)
    assert isinstance(answer.output_parsed, Weather)


async def test_models(client):
    assert [model.id async for model in client.models.list()] == ["mock-model"]
    assert (await client.models.retrieve("mock-model")).owned_by == "mock"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")


async def test_images(client):
    made = await client.images.generate(model="mock-model", prompt="a fox", n=2)
    pictures = [base64.b64decode(image.b64_json) for image in made.data]
    assert pictures[0] != pictures[1]
    assert pictures[0].startswith(b"\x89PNG\r\n\x1a\n")
    size = int.from_bytes(pictures[0][33:37])
    assert len(zlib.decompress(pictures[0][41 : 41 + size])) == 8 * (1 + 8 * 3)
    edited = await client.images.edit(model="mock-model", prompt="a fox", image=("f.png", pictures[0], "image/png"))
    assert edited.data[0].b64_json != made.data[0].b64_json


async def test_audio(client):
    sound = await client.audio.speech.create(model="mock-model", voice="alloy", input="hi", response_format="wav")
    assert sound.content[:4] == b"RIFF"
    assert sound.response.headers["content-type"] == "audio/wav"
    heard = await client.audio.transcriptions.create(model="mock-model", file=("a.wav", sound.content))
    assert heard.text
    assert heard.usage.type == "tokens"
    subtitles = await client.audio.transcriptions.create(
        model="mock-model", file=("a.wav", sound.content), response_format="srt"
    )
    assert heard.text in subtitles


async def test_moderations(client):
    results = (await client.moderations.create(model="mock-model", input=["a nice day", "kill it"])).results
    assert [result.flagged for result in results] == [False, True]
    assert results[1].categories.violence


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, openai.BadRequestError), (401, openai.AuthenticationError), (403, openai.PermissionDeniedError),
     (404, openai.NotFoundError), (409, openai.ConflictError), (422, openai.UnprocessableEntityError),
     (429, openai.RateLimitError), (503, openai.InternalServerError)],
)  # fmt: skip
async def test_errors(client, status, error):
    with pytest.raises(error) as caught:
        await chat(client, extra_body={"mock": {"status": status, "error_code": "told"}})
    assert caught.value.code == "told"
    assert caught.value.request_id.startswith("req_")


async def test_in_band_errors_are_raised(client):
    stream = await chat(client, stream=True, extra_body={"mock": {"in_band_error": 3}})
    with pytest.raises(openai.APIError, match="middle of the answer"):
        async for _ in stream:
            pass
