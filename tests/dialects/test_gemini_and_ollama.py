"""The official OpenAI client through a gateway to the mock's Gemini and Ollama APIs: nothing shows that they differ."""

import json
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
from openai import OpenAI

HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
}
TOOLS = [{"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}
         for name in ("weather", "news")]  # fmt: skip
PIXEL = "data:image/png;base64,iVBORw0KGgo="
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
PRICE = {"input": 1, "output": 2, "reasoning": 3, "cached": 0.5}
DIALECTS = ("gemini", "ollama")
USAGE = {"include_usage": True}
KEY_FIELDS = ("authorization", "x-goog-api-key")


@pytest.fixture(scope="module")
def mock(launch_for_module: Any) -> Any:
    return launch_for_module.mock("--model", "gemini-2.5-mock", "--model", "gemini-3-mock", "--tokens", "6")


@pytest.fixture(scope="module")
def gateway(launch_for_module: Any, mock: Any) -> Any:
    root = mock.url.removesuffix("/v1")
    common = {"api_key": "${UPSTREAM_KEY}"}
    gemini = {"url": root + "/v1beta", "dialect": "gemini", "model": "gemini-2.5-mock", **common}
    ollama = {"url": root + "/api", "dialect": "ollama", "model": "gemini-2.5-mock", "tier": "L1", **common}
    models = [
        {"name": "gemini", "endpoints": [gemini], "price": PRICE},
        {"name": "gemini3", "endpoints": [gemini | {"model": "gemini-3-mock"}]},
        {"name": "ollama", "endpoints": [ollama], "price": PRICE},
        {"name": "wrong-key", "endpoints": [gemini | {"api_key": "canary-of-a-wrong-key"}]},
    ]
    return launch_for_module.gateway({"models": models, "retries": {"attempts": 0}, "data_class": "P2"})


@pytest.fixture
def client(gateway: Any, mock: Any) -> Iterator[OpenAI]:
    mock.reset()
    with OpenAI(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture(params=DIALECTS)
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def chat(client: OpenAI, model: str, **more: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": HELLO} | more)


def read_all(client: OpenAI, model: str, stream: bool) -> None:
    """An answer to its end."""
    answer = chat(client, model, stream=stream)
    if stream:
        list(answer)


def line_of(gateway: Any, request_id: str) -> Any:
    """A request's line in the access log, as soon as it is there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
        found = [line for line in lines if line["id"] == request_id]
        if found:
            return found[0]
        time.sleep(0.01)
    pytest.fail(f"{request_id} is not in the log")


def gather(stream: Any) -> tuple[str, list[Any], list[str], Any]:
    """Text, tool calls, finish reasons and usage of a stream's first choice."""
    text, reasons, usage = "", [], None
    calls: list[Any] = []
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            calls += choice.delta.tool_calls or []
            reasons += [choice.finish_reason] if choice.finish_reason else []
    return text, calls, reasons, usage


def test_chat(client: OpenAI, model: str, mock: Any) -> None:
    answer = chat(client, model)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "gemini-2.5-mock"
    assert answer.usage.completion_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 6
    record = mock.wait_records(1)[0]
    assert record["path"] in ("/v1beta/models/gemini-2.5-mock:generateContent", "/api/chat")


def test_a_stream_says_and_costs_what_the_whole_answer_does(client: OpenAI, model: str, gateway: Any) -> None:
    whole = chat(client, model, reasoning_effort="low")
    stream = chat(client, model, reasoning_effort="low", stream=True, stream_options=USAGE)
    text, _, reasons, usage = gather(stream)
    assert (text, reasons) == (whole.choices[0].message.content, ["stop"])
    assert usage.model_dump() == whole.usage.model_dump()
    one = line_of(gateway, whole._request_id)
    two = line_of(gateway, stream.response.headers["x-request-id"])
    assert one["cost_nano"] == two["cost_nano"] > 0
    counts = ("input_tokens", "output_tokens", "reasoning_tokens")
    assert [one[name] for name in counts] == [two[name] for name in counts]


def test_usage_nobody_asked_for_is_counted_and_not_shown(client: OpenAI, model: str, gateway: Any) -> None:
    stream = chat(client, model, stream=True)
    text, _, reasons, usage = gather(stream)
    assert (bool(text), reasons, usage) == (True, ["stop"], None)
    line = line_of(gateway, stream.response.headers["x-request-id"])
    assert (line["output_tokens"], line["outcome"]) == (6, "complete")


def test_limits_and_stops(client: OpenAI, model: str) -> None:
    short = chat(client, model, max_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
    whole = chat(client, model).choices[0].message.content
    stopped = chat(client, model, stop=whole[5:8])
    assert stopped.choices[0].message.content == whole[: whole.find(whole[5:8])]


def test_several_answers(client: OpenAI) -> None:
    whole = chat(client, "gemini", n=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    said = {0: "", 1: ""}
    reasons = {}
    for chunk in chat(client, "gemini", n=2, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    assert [said[0], said[1]] == [choice.message.content for choice in whole.choices]
    assert reasons == {0: "stop", 1: "stop"}


def test_images_and_turns(client: OpenAI, model: str) -> None:
    seen = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "a"},
             {"role": "assistant", "content": "b"}, {"role": "user", "content": seen}]  # fmt: skip
    plain = chat(client, model, messages=[*turns[:3], {"role": "user", "content": "what is this?"}])
    assert chat(client, model, messages=turns).usage.prompt_tokens - plain.usage.prompt_tokens == 85


def test_structured_answers(client: OpenAI, model: str) -> None:
    answer = chat(client, model, response_format=FORM, max_tokens=500)
    jsonschema.validate(json.loads(answer.choices[0].message.content), SCHEMA)
    loose = chat(client, model, response_format={"type": "json_object"}, max_tokens=500)
    assert isinstance(json.loads(loose.choices[0].message.content), dict)


@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_their_results(client: OpenAI, model: str, stream: bool) -> None:
    if stream:
        _, calls, reasons, _ = gather(chat(client, model, tools=TOOLS, stream=True))
        assert [call.index for call in calls] == [0]
    else:
        choice = chat(client, model, tools=TOOLS).choices[0]
        calls, reasons = choice.message.tool_calls, [choice.finish_reason]
    assert reasons == ["tool_calls"]
    assert [call.function.name for call in calls] == ["weather"]
    jsonschema.validate(json.loads(calls[0].function.arguments), SCHEMA)
    said = {"role": "assistant", "tool_calls": [call.model_dump() for call in calls]}
    results = [{"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"}]
    answer = chat(client, model, messages=[*HELLO, said, *results], tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_calls(client: OpenAI, model: str, stream: bool) -> None:
    wanted = {"tool_choice": "required"} if model == "gemini" else {"messages": [{"role": "user", "content": "both"}]}
    if stream:
        _, calls, reasons, _ = gather(chat(client, model, tools=TOOLS, stream=True, **wanted))
        assert [call.index for call in calls] == [0, 1]
    else:
        choice = chat(client, model, tools=TOOLS, **wanted).choices[0]
        calls, reasons = choice.message.tool_calls, [choice.finish_reason]
    assert ([call.function.name for call in calls], reasons) == (["weather", "news"], ["tool_calls"])
    assert len({call.id for call in calls}) == 2
    said = {"role": "assistant", "content": None, "tool_calls": [call.model_dump() for call in calls]}
    results = [{"role": "tool", "tool_call_id": call.id, "content": '{"is": "fine"}'} for call in calls]
    assert chat(client, model, messages=[*HELLO, said, *results], tools=TOOLS).choices[0].finish_reason == "stop"


def test_a_call_without_an_id_is_given_one(client: OpenAI, model: str, mock: Any) -> None:
    mock.script({"unlabelled_tool_calls": True})
    calls = chat(client, model, tools=TOOLS).choices[0].message.tool_calls
    assert calls[0].id.startswith("call_")


def test_signatures_come_and_go(client: OpenAI) -> None:
    """Gemini 3 wants its signature back; a caller that lost it still gets an answer."""
    message = chat(client, "gemini3", tools=TOOLS).choices[0].message
    assert message.tool_calls[0].extra_content["google"]["thought_signature"]
    kept = message.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    assert chat(client, "gemini3", messages=[*HELLO, kept, result], tools=TOOLS).choices[0].message.content
    del kept["tool_calls"][0]["extra_content"]
    assert chat(client, "gemini3", messages=[*HELLO, kept, result], tools=TOOLS).choices[0].message.content


def test_thinking(client: OpenAI, model: str) -> None:
    answer = chat(client, model, reasoning_effort="high")
    if model == "gemini":
        assert answer.usage.completion_tokens_details.reasoning_tokens == 8
    else:
        assert answer.choices[0].message.reasoning_content
    assert answer.usage.completion_tokens == 14
    assert chat(client, model, reasoning_effort="none").usage.completion_tokens == 6


def test_embeddings(client: OpenAI, model: str) -> None:
    """The client asks for base64 and gives floats."""
    vectors = client.embeddings.create(model=model, input=["a", "b"], dimensions=8)
    assert [len(entry.embedding) for entry in vectors.data] == [8, 8]
    floats = client.embeddings.create(model=model, input="a", dimensions=8, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(vectors.data[0].embedding)
    assert vectors.usage.prompt_tokens == 2


REFUSED: list[tuple[str, Any, tuple[str, ...]]] = [
    ("logit_bias", {"1": 5}, DIALECTS),
    ("logprobs", True, DIALECTS),
    ("parallel_tool_calls", False, DIALECTS),
    ("n", 2, ("ollama",)),
    ("tool_choice", "required", ("ollama",)),
    ("stop", list("abcdef"), ("gemini",)),
    ("audio", {"voice": "alloy", "format": "wav"}, DIALECTS),
]


@pytest.mark.parametrize(
    ("model", "field", "value"), [(model, field, value) for field, value, models in REFUSED for model in models]
)
def test_what_cannot_be_carried_is_refused_by_name(
    client: OpenAI, model: str, mock: Any, field: str, value: Any
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model, **({"tools": TOOLS} if "tool" in field else {}), **{field: value})
    assert caught.value.param == field
    assert mock.records() == []


def test_a_path_that_is_not_translated(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.APIStatusError):
        client.completions.create(model=model, prompt="hello")


@pytest.mark.parametrize(("status", "error"), [(400, openai.BadRequestError), (404, openai.NotFoundError)])
def test_refusals_are_openais(client: OpenAI, model: str, mock: Any, status: int, error: type[Exception]) -> None:
    mock.script({"status": status})
    with pytest.raises(error) as caught:
        chat(client, model)
    told = caught.value
    assert isinstance(told, openai.APIStatusError)
    assert "told to answer" in told.message
    assert told.type == "invalid_request_error"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_are_openais(client: OpenAI, model: str, mock: Any, status: int) -> None:
    mock.script({"status": status})
    with pytest.raises(openai.APIStatusError) as caught:
        chat(client, model)
    assert caught.value.status_code >= 429
    assert caught.value.code


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [{"garbage": True}, {"bad_json_event": 0}, {"cut_after": 0}, {"error_body": "html", "status": 200}]
)
def test_an_answer_that_is_none_is_an_error(client: OpenAI, model: str, mock: Any, fault: Any, stream: bool) -> None:
    mock.script(fault)
    with pytest.raises(openai.APIStatusError) as caught:
        read_all(client, model, stream)
    assert caught.value.status_code in (502, 504)


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"bad_json_event": 3}, {"in_band_error": 3}, {"cut_after": 6}])
def test_a_broken_stream_never_stops_as_if_it_were_whole(client: OpenAI, model: str, mock: Any, fault: Any) -> None:
    mock.script(fault)
    chunks: list[Any] = []
    with pytest.raises(openai.APIError):
        chunks.extend(chat(client, model, stream=True))
    assert [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)


@pytest.mark.parametrize(
    ("name", "fault", "finish"),
    [
        ("gemini", {"finish": "SAFETY"}, "content_filter"),
        ("gemini", {"blocked": "PROHIBITED_CONTENT"}, "content_filter"),
        ("gemini", {"finish": "MALFORMED_FUNCTION_CALL"}, None),
        ("gemini", {"finish": "SOMETHING_NEW"}, None),
        ("ollama", {"finish": "unload"}, None),
        ("ollama", {"finish": "unknown"}, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_why_an_answer_ended(
    client: OpenAI, mock: Any, name: str, fault: Any, finish: str | None, stream: bool
) -> None:
    mock.script(fault)
    if finish is None:
        with pytest.raises(openai.APIError):
            read_all(client, name, stream)
        return
    answer = chat(client, name, stream=stream)
    assert (gather(answer)[2] if stream else [answer.choices[0].finish_reason]) == [finish]


def test_a_caller_that_leaves_ends_the_answer_upstream(client: OpenAI, model: str, mock: Any) -> None:
    mock.script({"rate": 20, "tokens": 400})
    stream = chat(client, model, stream=True, max_tokens=400)
    next(iter(stream))
    left = time.time()
    stream.close()
    record = mock.wait_records(1)[0]
    assert record["closed_by"] == "client"
    assert record["at"] + (record["ended"] - record["started"]) - left < 1.0  # 0.2 s where nobody else computes
    assert record["tokens"] < 100


def test_keys_go_in_a_header_and_nowhere_else(client: OpenAI, model: str, mock: Any, gateway: Any) -> None:
    chat(client, model)
    list(chat(client, model, stream=True))
    with pytest.raises(openai.APIStatusError) as caught:
        chat(client, "wrong-key")
    assert "canary" not in str(caught.value.body)
    assert caught.value.status_code == 502
    records = mock.wait_records(3)
    for record in records:
        assert record["query"] in ("", "alt=sse")
        names = {name for name, _ in record["headers"]}
        own = {"host", "user-agent", "accept-encoding", "content-type", "content-length", *KEY_FIELDS}
        assert names <= own | {"endpoint-load-metrics-format"}, "the last to servers at home alone"
        gemini = record["path"].startswith("/v1beta")
        assert ("x-goog-api-key" in names, "authorization" in names) == (gemini, not gemini)
    assert not any("canary" in line or "sk-upstream" in line for line in [*gateway.lines, gateway.log.read_text()])
    assert "canary" not in gateway.admin("/metrics")
