"""The Gemini dialect through Google's own client: what it accepts is what the mock may say."""

import json

import jsonschema
import pytest
from google import genai
from google.genai import errors, types

from backends.mock import Fault

MODEL = "mock-model"
NEW = "gemini-3-mock"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTIONS = [types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA) for name in ("weather", "news")]
TOOLS = [types.Tool(function_declarations=FUNCTIONS)]
PICTURE = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
OFF = types.AutomaticFunctionCallingConfig(disable=True)


@pytest.fixture
async def server(start):
    return await start(tokens=6, api_key="k", models=(MODEL, NEW))


def client_of(server, key="k", version="v1"):
    options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.port}", api_version=version)
    return genai.Client(api_key=key, http_options=options).aio.models


@pytest.fixture
def models(server):
    return client_of(server)


async def collect(stream, into):
    """Appends what comes, so that it is there when the stream breaks."""
    async for event in stream:
        into.append(event)


def config(**fields):
    return types.GenerateContentConfig(automatic_function_calling=OFF, **fields)


async def test_content(server, models):
    answer = await models.generate_content(model=MODEL, contents="hello")
    assert answer.text
    assert answer.candidates[0].finish_reason == "STOP"
    usage = answer.usage_metadata
    assert (usage.candidates_token_count, usage.total_token_count) == (6, usage.prompt_token_count + 6)
    assert (answer.model_version, bool(answer.response_id)) == (MODEL, True)
    record = (await server.server.wait_records(1))[0]
    assert (record.path, record.query, record.model) == (f"/v1/models/{MODEL}:generateContent", "", MODEL)
    assert dict(record.headers)["x-goog-api-key"].startswith("sha256:")


async def test_a_stream_says_what_the_whole_answer_says(models):
    whole = await models.generate_content(model=MODEL, contents="hello")
    events = [event async for event in await models.generate_content_stream(model=MODEL, contents="hello")]
    assert len(events) == 7
    assert "".join(event.text or "" for event in events) == whole.text
    assert [bool(event.candidates[0].finish_reason) for event in events] == [False] * 6 + [True]
    assert events[-1].usage_metadata == whole.usage_metadata
    counts = [event.usage_metadata.candidates_token_count for event in events]
    assert counts == [1, 2, 3, 4, 5, 6, 6]


async def test_limits_stops_candidates_and_turns(models):
    short = await models.generate_content(model=MODEL, contents="hello", config=config(max_output_tokens=2))
    assert short.candidates[0].finish_reason == "MAX_TOKENS"
    whole = (await models.generate_content(model=MODEL, contents="hello")).text
    stopped = await models.generate_content(model=MODEL, contents="hello", config=config(stop_sequences=[whole[5:8]]))
    assert stopped.text == whole[: whole.find(whole[5:8])]
    two = await models.generate_content(model=MODEL, contents="hello", config=config(candidate_count=2))
    assert [candidate.index for candidate in two.candidates] == [0, 1]
    turns = [types.UserContent("a"), types.ModelContent("b"), types.UserContent("c")]
    longer = await models.generate_content(model=MODEL, contents=turns, config=config(system_instruction="be kind"))
    assert longer.usage_metadata.prompt_token_count > 6


async def test_an_image_counts_as_tokens(models):
    plain = await models.generate_content(model=MODEL, contents=["what is this?"])
    pictured = await models.generate_content(model=MODEL, contents=["what is this?", PICTURE])
    assert pictured.usage_metadata.prompt_token_count - plain.usage_metadata.prompt_token_count == 85


UPPER = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}


@pytest.mark.parametrize("form", [{"response_json_schema": SCHEMA}, {"response_schema": UPPER}])
async def test_structured_answers(models, form):
    asked = config(response_mime_type="application/json", **form)
    answer = await models.generate_content(model=MODEL, contents="hello", config=asked)
    jsonschema.validate(json.loads(answer.text), SCHEMA)


async def test_thinking(models):
    asked = config(thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=100))
    answer = await models.generate_content(model=MODEL, contents="hello", config=asked)
    assert answer.candidates[0].content.parts[0].thought
    assert answer.usage_metadata.thoughts_token_count == 8
    assert answer.usage_metadata.total_token_count == answer.usage_metadata.prompt_token_count + 8 + 6
    stream = await models.generate_content_stream(model=MODEL, contents="hello", config=asked)
    events = [event async for event in stream]
    assert "".join(event.text or "" for event in events) == answer.text
    assert events[-1].usage_metadata == answer.usage_metadata


@pytest.mark.parametrize(
    ("mode", "names", "called"),
    [
        ("AUTO", None, ["weather"]),
        ("ANY", None, ["weather", "news"]),
        ("ANY", ["news"], ["news"]),
        ("NONE", None, None),
    ],
)
async def test_tools(models, mode, names, called):
    calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=names)
    asked = config(tools=TOOLS, tool_config=types.ToolConfig(function_calling_config=calling))
    answer = await models.generate_content(model=MODEL, contents="hello", config=asked)
    calls = answer.function_calls
    assert (calls and [call.name for call in calls]) == called
    for call in calls or ():
        jsonschema.validate(call.args, SCHEMA)
        assert call.id
    stream = await models.generate_content_stream(model=MODEL, contents="hello", config=asked)
    streamed = [call for event in [event async for event in stream] for call in event.function_calls or ()]
    assert [call.name for call in streamed] == (called or [])


async def test_a_turn_with_tools_needs_results_and_signatures(models):
    asked = config(tools=TOOLS)
    answer = await models.generate_content(model=NEW, contents="hello", config=asked)
    call = answer.candidates[0].content
    assert call.parts[0].thought_signature
    result = types.Part.from_function_response(name="weather", response={"output": "sunny"})
    question, results = types.UserContent("hello"), types.Content(role="user", parts=[result])
    done = await models.generate_content(model=NEW, contents=[question, call, results], config=asked)
    assert done.text
    call.parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await models.generate_content(model=NEW, contents=[question, call, results], config=asked)
    two = types.Content(role="user", parts=[result, result])
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        await models.generate_content(model=MODEL, contents=[question, call, two], config=asked)


async def test_counting_listing_and_vectors(server, models):
    counted = await models.count_tokens(model=MODEL, contents="hello")
    assert counted.total_tokens == 2
    assert [model.name async for model in await client_of(server, version="v1beta").list()] == [
        f"models/{MODEL}",
        f"models/{NEW}",
    ]
    assert (await client_of(server, version="v1beta").get(model=MODEL)).name == f"models/{MODEL}"
    asked = types.EmbedContentConfig(output_dimensionality=8)
    vectors = await models.embed_content(model=MODEL, contents=["a", "b"], config=asked)
    assert [len(vector.values) for vector in vectors.embeddings] == [8, 8]


@pytest.mark.parametrize(
    ("call", "code", "status"),
    [
        ({"model": "other"}, 404, "NOT_FOUND"),
        ({"config": {"candidate_count": 99}}, 400, "INVALID_ARGUMENT"),
        ({"config": {"stop_sequences": list("abcdef")}}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_errors_have_their_shape(models, call, code, status):
    with pytest.raises(errors.ClientError) as caught:
        await models.generate_content(**{"model": MODEL, "contents": "hello"} | call)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.message


async def test_a_wrong_key_is_a_bad_request(server):
    with pytest.raises(errors.ClientError) as caught:
        await client_of(server, "wrong").generate_content(model=MODEL, contents="hello")
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_scripted_errors(server, models, status):
    server.server.script([Fault(status=status)])
    with pytest.raises(errors.APIError) as caught:
        await models.generate_content(model=MODEL, contents="hello")
    assert caught.value.code == status
    assert caught.value.status in ("RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE")


async def test_why_it_ended_and_what_was_blocked(server, models):
    server.server.script([Fault(finish="SAFETY"), Fault(blocked="PROHIBITED_CONTENT")])
    ended = await models.generate_content(model=MODEL, contents="hello")
    assert ended.candidates[0].finish_reason == "SAFETY"
    blocked = await models.generate_content(model=MODEL, contents="hello")
    assert blocked.candidates is None
    assert blocked.prompt_feedback.block_reason == "PROHIBITED_CONTENT"


async def test_an_error_in_the_stream(server, models):
    server.server.script([Fault(in_band_error=2)])
    texts = []
    with pytest.raises(errors.APIError):
        await collect(await models.generate_content_stream(model=MODEL, contents="hello"), texts)
    assert len(texts) == 2


async def test_cached_tokens(start):
    server = await start(prefix_cache=True, tokens=1)
    models = client_of(server)
    text = "be kind " * 100
    cold = (await models.generate_content(model=MODEL, contents=text)).usage_metadata
    warm = (await models.generate_content(model=MODEL, contents=text)).usage_metadata
    assert cold.cached_content_token_count is None
    assert warm.cached_content_token_count > 150
    assert warm.prompt_token_count == cold.prompt_token_count


async def test_an_unknown_field_is_refused(mock):
    body = {"contents": [{"parts": [{"text": "hi"}]}], "max_tokens": 5}
    reply = await mock.fetch(body, f"/v1beta/models/{MODEL}:generateContent")
    assert (reply.status, reply.json["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_cuts_and_garbage(mock):
    path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    for fault, events in ((Fault(cut_after=2), 2), (Fault(bad_json_event=1), 5), (Fault(no_blank_line=True), 5)):
        mock.server.script([fault])
        reply = await mock.fetch(body, path)
        assert len(reply.data) == events
    mock.server.script([Fault(garbage=True)])
    assert not (await mock.fetch(body, path)).raw.startswith(b"HTTP/1.1")
