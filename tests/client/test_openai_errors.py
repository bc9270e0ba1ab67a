"""What the official client raises: the same as straight at the model server, but for the rows that say otherwise."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
import pytest

HELLO = [{"role": "user", "content": "hello"}]


def chat(side: Any, fault: dict[str, Any] | None = None, **more: Any) -> Any:
    body = {"extra_body": {"mock": fault}} if fault else {}
    return side.client.chat.completions.create(**{"model": "llama", "messages": HELLO} | body | more)


def chat_async(side: Any, fault: dict[str, Any], **more: Any) -> Any:
    asked = {"model": "llama", "messages": HELLO, "extra_body": {"mock": fault}}
    return side.wait(side.aio.chat.completions.create(**asked | more))


def drain(side: Any, fault: dict[str, Any], **more: Any) -> list[Any]:
    """Reads a stream up to its error, which is the last of what is returned."""
    chunks: list[Any] = []
    try:
        chunks.extend(chat(side, fault, stream=True, stream_options={"include_usage": True}, **more))
    except openai.APIError as error:
        chunks.append({"error": type(error).__name__, "message": error.message, "body": error.body})
    return chunks


PASSED_ON = (400, 404, 409, 413, 418, 422)
REFUSALS: dict[str, Callable[[Any], Any]] = {
    "a schema that is missing": lambda s: chat(s, response_format={"type": "json_schema", "json_schema": {}}),
    "a schema nobody can meet": lambda s: chat(
        s, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/none"}}}
    ),
    "a tool nobody offered": lambda s: chat(s, tool_choice={"type": "function", "function": {"name": "none"}}),
    "embeddings of nothing": lambda s: s.client.embeddings.create(model="llama", input=[], encoding_format="float"),
    "responses without input": lambda s: s.client.responses.create(model="llama"),
    "an image that is none": lambda s: s.client.images.generate(model="llama", prompt="a fox", n=99),
}


@pytest.mark.parametrize("status", PASSED_ON)
@pytest.mark.parametrize("mode", ["sync", "async", "stream"])
def test_a_refusal_is_passed_on(both: Callable[..., Any], status: int, mode: str) -> None:
    fault = {"status": status, "error_code": "told"}
    call = {"sync": chat, "async": chat_async, "stream": drain_refused}[mode]
    found = both(lambda side: call(side, fault))
    assert (found["status_code"], found["code"]) == (status, "told")


def drain_refused(side: Any, fault: dict[str, Any]) -> Any:
    return list(chat(side, fault, stream=True, stream_options={"include_usage": True}))


@pytest.mark.parametrize("body", ["html", "text", "empty"])
def test_a_refusal_that_is_no_json_is_passed_on(both: Callable[..., Any], body: str) -> None:
    found = both(lambda side: chat(side, {"status": 422, "error_body": body}))
    assert found["error"] == "UnprocessableEntityError"


@pytest.mark.parametrize("name", REFUSALS)
def test_the_model_server_judges_what_the_gateway_does_not_look_at(both: Callable[..., Any], name: str) -> None:
    assert both(REFUSALS[name])["error"] == "BadRequestError"


JUDGED_FIRST: dict[str, dict[str, Any]] = {
    "messages": {"messages": []},
    "n": {"n": 1_000},
    "max_tokens": {"max_tokens": 0},
    "model": {"model": ""},
}
"""By parameter: what the gateway refuses itself, before the model server could; the words are its own."""


@pytest.mark.parametrize("param", JUDGED_FIRST)
def test_a_wrong_parameter_gets_the_same_error_whoever_finds_it(
    direct: Any, through: Any, model_server: Any, param: str
) -> None:
    raised = []
    for side in (direct, through):
        model_server.reset()
        with pytest.raises(openai.BadRequestError) as caught:
            chat(side, **JUDGED_FIRST[param])
        raised.append((caught.value.status_code, caught.value.type, caught.value.param))
    assert raised[0] == raised[1] == (400, "invalid_request_error", param)
    assert model_server.records() == []


TRANSLATED = (
    # status of the model server, what the client raises straight, status and code and client's error through
    (401, "AuthenticationError", 502, "upstream_error", "InternalServerError"),  # the refused key is the gateway's
    (403, "PermissionDeniedError", 502, "upstream_error", "InternalServerError"),
    (408, "APIStatusError", 503, "overloaded", "InternalServerError"),  # 408 and 429 ask for another endpoint
    (429, "RateLimitError", 503, "overloaded", "InternalServerError"),  # a 429 is only for the caller's own limits
    (500, "InternalServerError", 502, "upstream_error", "InternalServerError"),
    (502, "InternalServerError", 502, "upstream_error", "InternalServerError"),
    (503, "InternalServerError", 503, "overloaded", "InternalServerError"),
    (529, "InternalServerError", 503, "overloaded", "InternalServerError"),
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "straight", "mapped", "code", "raised"), TRANSLATED)
def test_a_failure_of_the_model_server_is_the_gateways_to_explain(
    direct: Any, through: Any, stream: bool, status: int, straight: str, mapped: int, code: str, raised: str
) -> None:
    fault = {"status": status, "retry_after": 7}
    with pytest.raises(openai.APIStatusError) as caught:
        chat(direct, fault, stream=stream)
    assert (type(caught.value).__name__, caught.value.status_code) == (straight, status)
    with pytest.raises(openai.APIStatusError) as caught:
        chat(through, fault, stream=stream)
    error = caught.value
    assert (type(error).__name__, error.status_code, error.code) == (raised, mapped, code)
    assert set(error.body) == {"message", "type", "param", "code"}  # type: ignore[arg-type]  # a dict here
    assert error.request_id
    assert error.response.headers.get("retry-after") == ("7" if mapped == 503 else None)


def test_an_unknown_model_is_refused_without_asking_the_model_server(both: Callable[..., Any]) -> None:
    message = "The model 'none' does not exist or this key may not use it. GET /v1/models lists yours."
    told = {"message": "The model `none` does not exist.", "type": "invalid_request_error", "param": "model"}
    gateways = told | {"message": message}
    code = {"code": "model_not_found"}
    differs = {
        "message": (f"Error code: 404 - {told['message']}", f"Error code: 404 - {message}"),
        "body": (told | code, gateways | code),
    }
    found = both(lambda side: chat(side, model="none"), differs=differs, requests=(1, 0))
    assert (found["error"], found["code"], found["param"]) == ("NotFoundError", "model_not_found", "model")


@pytest.mark.parametrize("path", ["models", "chat"])
def test_a_wrong_key_is_refused(through: Any, model_server: Any, path: str) -> None:
    stranger = through.client.with_options(api_key="fp-00000000-" + "0" * 64)
    model_server.reset()
    calls = {"models": stranger.models.list, "chat": lambda: chat(replace(through, client=stranger))}
    with pytest.raises(openai.AuthenticationError) as caught:
        calls[path]()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id
    assert model_server.records() == []


def test_a_callers_key_never_reaches_the_model_server(through: Any, direct: Any, model_server: Any) -> None:
    sent = []
    for side in (direct, through):
        model_server.reset()
        chat(side)
        sent.append(dict(model_server.wait_records(1)[0]["headers"])["authorization"])
    assert sent[0] == sent[1], "the mock's own key both times"


def test_an_error_in_the_middle_of_a_stream_is_raised_after_what_came_before(both: Callable[..., Any]) -> None:
    found = both(lambda side: drain(side, {"in_band_error": 3}))
    assert len(found) == 4
    assert found[-1]["error"] == "APIError"


def test_a_cut_stream_is_an_error_and_no_end(through: Any, direct: Any) -> None:
    """Straight, the client's own transport complains; through, the error is in the stream and says what happened."""
    chunks = drain(direct, {"cut_after": 3})
    assert (len(chunks), chunks[-1]["error"]) == (4, "APIConnectionError")
    chunks = drain(through, {"cut_after": 3})
    assert len(chunks) == 4
    assert chunks[-1]["body"]["code"] == "upstream_disconnected"


@pytest.mark.parametrize("call", [chat, chat_async])
def test_a_client_gives_up_by_its_own_time_out(both: Callable[..., Any], call: Callable[..., Any]) -> None:
    found = both(lambda side: call(side, {"stall_after": "head"}, timeout=0.2))
    assert found == {"error": "APITimeoutError", "message": "Request timed out."}


def test_a_client_gives_up_in_the_middle_of_a_stream(both: Callable[..., Any], model_server: Any) -> None:
    def run(side: Any) -> Any:
        chunks = []
        try:
            for chunk in chat(side, {"stall_after": 3}, stream=True, timeout=0.2):
                chunks.append(chunk)
        except Exception as error:
            return chunks, type(error).__name__

    chunks, raised = both(run, patched=True)
    assert len(chunks) == 3
    assert "Timeout" in raised
    assert model_server.records()[-1]["closed_by"] == "client"


def test_a_client_that_cancels_stops_the_model_server(through: Any, model_server: Any) -> None:
    async def cancelled() -> None:
        fault = {"ttft": 30}
        call = through.aio.chat.completions.create(model="llama", messages=HELLO, extra_body={"mock": fault})
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    model_server.reset()
    through.wait(cancelled())
    assert model_server.wait_records(1)[0]["closed_by"] == "client"
