"""What an OpenAI request becomes for the Messages API, and what is refused because it cannot become anything.

Every request that is written here must be one that the vendor's own client could have sent.
"""

import json
from typing import Any

import anthropic.types
import pydantic
import pytest

from backends.dialects.anthropic.request import write_request
from backends.dialects.dialect import Refused

PARAMS = pydantic.TypeAdapter(
    anthropic.types.MessageCreateParams, config=pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
)
#: Fields that the client left out when its newest models did, and that the API takes for the others.
OLDER = frozenset({"temperature", "top_p", "top_k"})
HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Says it.", "parameters": SCHEMA}}
SENT_TOOL = {"name": "weather", "description": "Says it.", "input_schema": SCHEMA}
BAD = {"name": "f", "arguments": "[1]"}
CALL = {
    "id": "functions.weather:0",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
}


def write(max_output: int = 0, **fields: Any) -> dict[str, Any]:
    body, _ = write_request(json.dumps({"model": "claude", "messages": HELLO} | fields).encode(), max_output)
    tree: dict[str, Any] = json.loads(body)
    PARAMS.validate_python({name: value for name, value in tree.items() if name not in OLDER})
    return tree


def text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": each} for each in texts]


def test_the_plainest_request() -> None:
    assert write() == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": text("Hello")}],
    }


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, 8192),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": None}, 8192),
    ],
)
def test_the_limit_is_the_callers_else_the_models(fields: dict[str, Any], most: int) -> None:
    assert write(8192, **fields)["max_tokens"] == most


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"top_k": 40}, {"top_k": 40}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stream": True}, {"stream": True}),
        ({"stream": False}, {}),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "minimal"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ({"reasoning_effort": "high"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
    ],
)
def test_what_is_carried(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    assert write(**fields) == write() | sent


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "u", "metadata": {"a": "b"}, "seed": 7, "service_tier": "flex", "prompt_cache_key": "k"},
        {"n": 1, "logprobs": False, "presence_penalty": 0, "logit_bias": {}, "store": False, "stop": []},
        {"tools": [], "response_format": {"type": "text"}, "modalities": ["text"], "parallel_tool_calls": True},
        {"temperature": 1, "top_p": 1.0},  # the default of both APIs, which the newest models refuse to be told
        {"n": None, "logit_bias": None, "guided_json": None, "tool_choice": "none"},
    ],
)
def test_what_changes_no_answer_is_dropped(fields: dict[str, Any]) -> None:
    assert write(**fields) == write()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"store": True}, "store"),
        ({"verbosity": "low"}, "verbosity"),
        ({"temperature": 1.5}, "temperature"),
        ({"guided_json": {}}, "guided_json"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"response_format": {"type": "json_object"}, "tools": [TOOL]}, "response_format"),
        ({"response_format": {"type": "json_object"}, "reasoning_effort": "low"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice"),
        ({"tools": [TOOL | {"function": {"name": "f", "parameters": [1]}}]}, "tools[0].function.parameters"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png,x"}]}]},
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"function": BAD}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
    ],
)  # fmt: skip
def test_what_would_change_the_answer_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Refused) as caught:
        write(**fields)
    assert caught.value.param == param


def test_instructions_are_lifted_out_in_their_order() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "short."}]},
    ]
    assert write(messages=messages[:2])["system"] == "Be kind."
    sent = write(messages=messages)
    assert sent["system"] == text("Be kind.", "Be short.")
    assert sent["messages"] == write()["messages"]


def test_turns_of_one_side_become_one_and_results_are_the_users() -> None:
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Oslo?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL | {"id": "b"}]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "rain"},
        {"role": "tool", "tool_call_id": "b", "content": text("so", "n")},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "", "refusal": "No."},
    ]  # fmt: skip
    use = {"type": "tool_use", "name": "weather", "input": {"city": "Oslo"}}
    assert write(messages=messages, tools=[TOOL])["messages"] == [
        {"role": "user", "content": text("Hello", "Oslo?")},
        {"role": "assistant", "content": [use | {"id": "functions_weather_0"}, use | {"id": "b"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "functions_weather_0", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "b", "content": text("so", "n")},
                *text("And?"),
            ],
        },
        {"role": "assistant", "content": text("No.")},
    ]


def test_images_by_address_and_in_place() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    ]
    assert write(messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
    ]


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, {"type": "auto", "disable_parallel_tool_use": False}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tools_and_their_choice(fields: dict[str, Any], choice: dict[str, Any] | None) -> None:
    sent = write(tools=[TOOL], **fields)
    assert sent["tools"] == [SENT_TOOL]
    assert sent.get("tool_choice") == choice


def test_parameters_without_a_type_are_an_object() -> None:
    loose = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}
    assert write(tools=[loose])["tools"][0]["input_schema"] == {"type": "object", "properties": {"a": {}}}


def test_a_tool_of_few_words() -> None:
    bare = {"type": "function", "function": {"name": "now", "strict": True}}
    assert write(tools=[bare])["tools"] == [
        {"name": "now", "input_schema": {"type": "object", "properties": {}}, "strict": True}
    ]


def test_a_schema_is_an_output_format_and_any_object_a_tool() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    sent = write(response_format=wanted, reasoning_effort="low")
    assert sent["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}
    sent = write(response_format={"type": "json_object"})
    assert sent["tool_choice"] == {"type": "tool", "name": sent["tools"][0]["name"]}
