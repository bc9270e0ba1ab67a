"""The official OpenAI client before an endpoint that speaks Anthropic's dialect: nothing tells the caller so."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import openai
import pytest

MODEL = "claude-opus-4-5"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("weather", "news")]
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 400}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}
OTHER_KEY = "sk-of-the-other-provider"


@pytest.fixture(scope="module")
def claude(launch_for_module: Any) -> Any:
    """A mock at Anthropic's place."""
    return launch_for_module.mock("--model", MODEL, "--tokens", "6", "--prefix-cache")


@pytest.fixture(scope="module")
def other(launch_for_module: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A mock at another provider's, with another key."""
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_text(OTHER_KEY)
    return launch_for_module.mock("--model", "other", "--tokens", "6", "--api-key-file", str(path))


@pytest.fixture(scope="module")
def node(launch_for_module: Any, door: str, claude: Any, other: Any) -> Any:
    """A gateway: `claude-opus-4-5` speaks Anthropic's dialect; `both` falls back to OpenAI's."""
    anthropic = {
        "url": claude.url, "dialect": "anthropic", "provider": "anthropic", "name": "claude", "model": MODEL,
        "api_key": "${UPSTREAM_KEY}",
    }  # fmt: skip
    spare = {"url": other.url, "name": "other", "model": "other", "api_key": "${OTHER_KEY}", "weight": 0}
    models = [
        {"name": MODEL, "endpoints": [anthropic]},
        {"name": "both", "endpoints": [anthropic, spare]},
    ]
    settings = {
        "models": models, "listen": {"door": door}, "retries": {"backoff": 0.01, "budget_min": 1000},
        "key": {"insight": True}, "health": {"rest_max": 0.001, "out": 0.001, "out_max": 0.001, "slow_start": 0},
    }  # fmt: skip
    return launch_for_module.gateway(settings, {"OTHER_KEY": OTHER_KEY})


@pytest.fixture
def client(node: Any, claude: Any, other: Any) -> Iterator[openai.OpenAI]:
    claude.reset()
    other.reset()
    with openai.OpenAI(
        base_url=node.url, api_key=node.key, max_retries=0, timeout=20, _strict_response_validation=True
    ) as made:
        yield made


@pytest.fixture
def ask(client: openai.OpenAI) -> Callable[..., Any]:
    def ask(*contents: Any, **more: Any) -> Any:
        messages = [{"role": "user", "content": content} for content in contents or ("hello",)]
        return client.chat.completions.create(**{"model": MODEL, "messages": messages} | more)

    return ask


def gather(chunks: Any) -> dict[str, Any]:
    """What a stream adds up to."""
    found: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "finish": None, "usage": None}
    for chunk in chunks:
        if not chunk.choices:
            found["usage"] = chunk.usage
            continue
        delta = chunk.choices[0].delta
        found["content"] += delta.content or ""
        found["reasoning"] += getattr(delta, "reasoning_content", None) or ""
        for call in delta.tool_calls or ():
            name, arguments = found["calls"].get(call.index, ("", ""))
            found["calls"][call.index] = (name or call.function.name, arguments + call.function.arguments)
        found["finish"] = chunk.choices[0].finish_reason
    return found


def flat(answer: Any) -> dict[str, Any]:
    """The same of a whole answer."""
    message = answer.choices[0].message
    calls = {i: (call.function.name, call.function.arguments) for i, call in enumerate(message.tool_calls or ())}
    return {
        "content": message.content or "",
        "reasoning": getattr(message, "reasoning_content", None) or "",
        "calls": calls,
        "finish": answer.choices[0].finish_reason,
        "usage": answer.usage,
    }


def lines_of(node: Any, answers: list[Any]) -> list[dict[str, Any]]:
    """The access lines of answers, whole or streamed."""
    ids = [
        answer.response.headers["x-request-id"] if hasattr(answer, "response") else answer._request_id
        for answer in answers
    ]
    end = time.monotonic() + 20
    while True:
        found = {line["id"]: line for line in node.access_lines(1)}
        if found.keys() >= set(ids):
            return [found[ident] for ident in ids]
        assert time.monotonic() < end, ids
        time.sleep(0.01)


FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "limit": {"max_tokens": 2},
    "stop": {"stop": ["e"]},
    "instructions": {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]},
    "image": {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]},
    "schema": {"response_format": FORMAT},
    "tools": {"tools": TOOLS},
    "parallel tools": {"tools": TOOLS, "parallel_tool_calls": True},
    "named tool": {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "news"}}},
    "no tool": {"tools": TOOLS, "tool_choice": "none"},
    "reasoning": {"reasoning_effort": "low"},
}


@pytest.mark.parametrize("feature", FEATURES)
def test_whole_and_streamed_say_and_cost_the_same(ask: Callable[..., Any], node: Any, feature: str) -> None:
    more = FEATURES[feature]
    ask(**more)  # what the prefix cache keeps it keeps now
    answers = [ask(**more), *(ask(stream=True, **options, **more) for options in (USAGE, {}))]
    whole, pieces, bare = flat(answers[0]), gather(answers[1]), gather(answers[2])
    calls = [{i: (name, json.loads(text)) for i, (name, text) in each.pop("calls").items()} for each in (whole, pieces)]
    assert calls[0] == calls[1]
    assert whole == pieces
    assert bare["usage"] is None
    lines = lines_of(node, answers)
    assert len({(line["input_tokens"], line["output_tokens"], line["cost_nano"]) for line in lines}) == 1
    assert lines[0]["cost_nano"] > 0
    assert lines[0]["output_tokens"] == whole["usage"].completion_tokens


def test_cached_tokens_are_a_part_of_the_prompt_and_cheaper(ask: Callable[..., Any], node: Any) -> None:
    answers = []
    usages = []
    for _ in range(2):
        answers.append(ask("be kind " * 100, stream=True, **USAGE))
        usages.append(gather(answers[-1])["usage"])
    cold, warm = usages
    assert cold.prompt_tokens == warm.prompt_tokens
    assert warm.prompt_tokens_details.cached_tokens > cold.prompt_tokens_details.cached_tokens
    lines = lines_of(node, answers)
    assert lines[1]["cost_nano"] < lines[0]["cost_nano"]


def test_tools_side_by_side_and_their_results(ask: Callable[..., Any], claude: Any) -> None:
    asked = ask(tools=TOOLS, parallel_tool_calls=True).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert [call.function.name for call in asked.message.tool_calls] == ["weather", "news"]
    for call in asked.message.tool_calls:
        jsonschema.validate(json.loads(call.function.arguments), SCHEMA)
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in asked.message.tool_calls]
    messages = [{"role": "user", "content": "hello"}, asked.message.model_dump(exclude_none=True), *results]
    answer = ask(messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


def test_a_schema_is_kept_to(ask: Callable[..., Any]) -> None:
    jsonschema.validate(json.loads(ask(response_format=FORMAT).choices[0].message.content), SCHEMA)


def test_any_json_object(ask: Callable[..., Any]) -> None:
    wanted = {"type": "json_object"}
    whole, pieces = flat(ask(response_format=wanted)), gather(ask(response_format=wanted, stream=True))
    assert isinstance(json.loads(whole["content"]), dict)
    assert json.loads(pieces["content"]) == json.loads(whole["content"])
    assert (whole["finish"], whole["calls"]) == (pieces["finish"], pieces["calls"]) == ("stop", {})


def test_the_parts_of_an_answer_look_as_openais(ask: Callable[..., Any]) -> None:
    chunks = list(ask(stream=True))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].id.startswith("chatcmpl-")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])


@pytest.mark.parametrize(
    ("more", "kind", "param"),
    [
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"logprobs": True, "stream": True}, openai.BadRequestError, "logprobs"),
        ({"extra_body": {"guided_json": {}}}, openai.BadRequestError, "guided_json"),
    ],
)
def test_refusals_of_ours(ask: Callable[..., Any], claude: Any, more: Any, kind: Any, param: str) -> None:
    with pytest.raises(kind) as caught:
        ask(**more)
    assert caught.value.param == param
    assert not claude.records()


def test_refusals_of_theirs(ask: Callable[..., Any], claude: Any) -> None:
    claude.script({"status": 400, "error_code": "x"})
    with pytest.raises(openai.BadRequestError) as caught:
        ask()
    assert caught.value.code == "invalid_request_error"
    assert "The mock was told" in str(caught.value)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 529}, openai.InternalServerError),
        ({"status": 429, "retry_after": 3}, openai.InternalServerError),
        ({"status": 401}, openai.InternalServerError),
        ({"status": 500, "error_body": "html"}, openai.InternalServerError),
        ({"die": "pre"}, openai.InternalServerError),
        ({"content_type": "text/html"}, openai.InternalServerError),
    ],
)
def test_failures(ask: Callable[..., Any], claude: Any, fault: dict[str, Any], kind: Any, streamed: bool) -> None:
    if not streamed and "content_type" in fault:
        fault = {"bad_json_event": 0}
    claude.script(fault)
    with pytest.raises(kind) as caught:
        ask(stream=streamed)
    assert caught.value.status_code in (502, 503)


@pytest.mark.parametrize("fault", [{"cut_after": 4}, {"in_band_error": 4}, {"bad_json_event": 4}, {"cut_at_byte": 900}])
def test_a_stream_that_breaks_is_never_an_answer(
    ask: Callable[..., Any], claude: Any, node: Any, fault: dict[str, Any]
) -> None:
    claude.script(fault)
    chunks: list[Any] = []
    with pytest.raises(openai.APIError):
        chunks.extend(ask(stream=True))
    assert chunks
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)


@pytest.mark.parametrize("fault", [{"in_band_error": 1}, {"cut_after": 2}, {"status": 529}, {"bad_json_event": 0}])
def test_before_the_first_word_another_provider_answers(
    ask: Callable[..., Any], claude: Any, other: Any, fault: dict[str, Any]
) -> None:
    claude.script(fault)
    found = gather(ask("hello", model="both", stream=True, max_completion_tokens=5, seed=7))
    assert found["finish"] == "length"
    tried, answered = claude.wait_records(1)[0], other.wait_records(1)[0]
    assert (tried["path"], answered["path"]) == ("/v1/messages", "/v1/chat/completions")
    assert (tried["model"], answered["model"]) == (MODEL, "other")


def test_the_key_of_one_is_never_at_the_other(ask: Callable[..., Any], node: Any, claude: Any, other: Any) -> None:
    claude.script({"status": 503})
    ask(model="both")
    seen = [dict(server.wait_records(1)[0]["headers"]) for server in (claude, other)]
    assert seen[0]["x-api-key"] == fingerprint(claude.key)
    assert "authorization" not in seen[0]
    assert seen[1]["authorization"] == fingerprint(f"Bearer {OTHER_KEY}")
    assert "x-api-key" not in seen[1]
    assert not {"anthropic-version"} & seen[1].keys()
    allowed = {
        "host", "user-agent", "accept-encoding", "x-api-key", "content-type", "anthropic-version", "content-length",
    }  # fmt: skip
    assert set(seen[0]) == allowed


def test_a_caller_who_leaves_stops_the_provider(ask: Callable[..., Any], claude: Any) -> None:
    lags = []
    for _ in range(3):
        claude.reset()
        claude.script({"rate": 20, "tokens": 400})
        stream = ask(stream=True, max_tokens=400)
        next(stream)
        next(stream)
        stream.close()
        left = time.monotonic()
        record = claude.wait_records(1)[0]
        assert record["closed_by"] == "client"
        lags.append(record["ended"] - left)
    assert min(lags) < 0.2


def test_its_own_api_passes_untranslated(client: openai.OpenAI, claude: Any) -> None:
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    answer = client.post("/messages", body=body, cast_to=object)
    assert isinstance(answer, dict)
    assert answer["type"] == "message"
    assert answer["usage"]["output_tokens"] == 5


def fingerprint(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode("latin-1")).hexdigest()[:16]
