"""Errors as callers of each dialect read them, and which failure becomes which."""

import json
from typing import Any

import pytest

from backends.base import Cause, Moment, UpstreamError
from fastpath import errors
from fastpath.errors import GatewayError
from fastpath.relay.quote import SILENT, quote

EVERY: list[GatewayError] = [
    errors.invalid_request("m", "p"), errors.unknown_path("/x"), errors.wrong_method("PUT", "GET"), errors.too_large(1),
    errors.unsupported_encoding("br"), errors.unsupported_type("application/json"), errors.slow_body(),
    errors.broken_body(), errors.unauthenticated("m"), errors.unknown_model("x"), errors.overloaded("m"),
    errors.upstream_failed(), errors.upstream_timeout(), errors.internal(),
]  # fmt: skip
every = pytest.mark.parametrize("error", EVERY, ids=lambda error: error.code)
ANTHROPIC = {
    "invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error",
    "request_too_large", "rate_limit_error", "timeout", "api_error", "overloaded_error",
}  # fmt: skip


@every
@pytest.mark.parametrize("dialect", ["chat", "other", "responses"])
def test_the_openai_body_has_all_four_fields(error: GatewayError, dialect: str) -> None:
    body = json.loads(errors.shape(error, dialect, "req_1"))
    expected = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    assert body == {"error": expected}
    assert all(isinstance(expected[name], str) and expected[name] for name in ("message", "type", "code"))


@every
def test_the_anthropic_body(error: GatewayError) -> None:
    body = json.loads(errors.shape(error, "messages", "req_1"))
    assert set(body) == {"type", "error", "request_id"}
    assert (body["type"], body["request_id"]) == ("error", "req_1")
    assert set(body["error"]) == {"type", "message"}
    assert body["error"]["type"] in ANTHROPIC
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error",
             413: "request_too_large", 500: "api_error", 502: "api_error", 503: "overloaded_error",
             504: "timeout"}  # fmt: skip
    assert body["error"]["type"] == kinds.get(error.status, "invalid_request_error")


@every
@pytest.mark.parametrize(
    ("dialect", "name"), [("chat", None), ("other", None), ("messages", "error"), ("responses", "error")]
)
def test_the_last_event_of_a_broken_stream(error: GatewayError, dialect: str, name: str | None) -> None:
    frame = errors.frame(error, dialect, "req_1", 7)
    assert frame.endswith(b"\n\n")
    *first, data = frame.removesuffix(b"\n\n").split(b"\n")
    assert first == ([b"event: error"] if name else [])
    found = json.loads(data.removeprefix(b"data: "))
    if dialect == "responses":
        assert found == {"type": "error", "code": error.code, "message": error.message, "param": error.param,
                         "sequence_number": 7}  # fmt: skip
    else:
        assert found == json.loads(errors.shape(error, dialect, "req_1"))


def test_an_event_is_one_line_whatever_is_said() -> None:
    frame = errors.frame(errors.invalid_request("a\r\n\ndata: [DONE]\n\n\u2028"), "chat", "r")
    assert frame.count(b"\n") == 2
    assert b"\r" not in frame


@pytest.mark.parametrize(("seconds", "header"), [(0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (20, b"20")])
def test_retry_after_is_rounded_up(seconds: float, header: bytes) -> None:
    assert errors.overloaded("m", seconds).headers == ((b"retry-after", header),)


@pytest.mark.parametrize("error", EVERY, ids=lambda error: error.code)
def test_only_capacity_says_when_to_come_back(error: GatewayError) -> None:
    assert (b"retry-after" in dict(error.headers)) == (error.status == 503)
    assert error.status != 429, "429 is only for a caller's own limits"


@pytest.mark.parametrize("cause", list(Cause))
def test_what_a_failed_attempt_becomes(cause: Cause) -> None:
    failure = UpstreamError(cause, Moment.HEAD, "10.0.0.1:9001 sk-secret")
    before = errors.before_answer(failure)
    timeouts = {Cause.FIRST_BYTE_TIMEOUT, Cause.IDLE_TIMEOUT, Cause.TOTAL_TIMEOUT}
    expected: Any = (502, "upstream_error")
    if cause in timeouts:
        expected = (504, "upstream_timeout")
    elif cause is Cause.POOL_FULL:
        expected = (503, "overloaded")
    assert (before.status, before.code) == expected
    for answering in (False, True):
        inside = errors.in_stream(failure, answering)
        assert inside.code in ("upstream_error", "upstream_timeout", "stream_timeout", "upstream_disconnected")
        assert (inside.code == "upstream_disconnected") == (cause is Cause.DISCONNECTED)
        assert "sk-secret" not in inside.message + before.message
    assert errors.in_stream(UpstreamError(Cause.IDLE_TIMEOUT, Moment.BODY), True).code == "stream_timeout"
    assert errors.in_stream(UpstreamError(Cause.IDLE_TIMEOUT, Moment.BODY), False).code == "upstream_timeout"


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b'{"error":{"message":"m","type":"t","param":"p","code":"c","more":1}}', ("c", "m", "t", "p")),
        (b'{"error":{"message":"m","code":400}}', ("400", "m", "server_error", None)),
        (b'{"message":"m","type":"t"}', ("upstream_error", "m", "t", None)),
        (b'{"error":"m"}', ("upstream_error", "m", "server_error", None)),
        (b'{"error":{"message":{},"type":[],"param":true}}', ("upstream_error", SILENT, "server_error", None)),
        (b"<html>", ("upstream_error", SILENT, "server_error", None)),
        (b"", ("upstream_error", SILENT, "server_error", None)),
        (b"\xff", ("upstream_error", SILENT, "server_error", None)),
        (b'{"error":{"message":"\\ud800"}}', ("upstream_error", SILENT, "server_error", None)),
        (b'{"error":null}', ("upstream_error", SILENT, "server_error", None)),
    ],
)  # fmt: skip
def test_what_a_model_server_said(data: bytes, fields: tuple[Any, ...]) -> None:
    error = quote(422, data)
    assert (error.status, error.code, error.message, error.type, error.param) == (422, *fields)
