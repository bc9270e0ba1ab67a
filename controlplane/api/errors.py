"""One shape for every error: OpenAI's error object. The only place that makes it.

Owns the translation of problems, of the framework's exceptions and of the database's. A body or message never repeats
what was sent: it may be a secret. An error of ours is told as such and nothing more; its traceback goes to the log.
"""

import logging
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from controlplane.problem import Problem
from controlplane.secrets.seal import SealError
from controlplane.store.errors import StoreError

_LOG: Final = logging.getLogger("fastpath.control")
_TYPES: Final = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_CODES: Final = {
    400: "invalid_request",
    404: "unknown_path",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
}
_MESSAGES: Final = {
    400: "The request is not valid.",
    404: "No such path. See GET /openapi.json.",
    405: "That method is not allowed here. See GET /openapi.json.",
    413: "The request body is too large: 64 KiB at most.",
    415: "Send JSON, with `content-type: application/json`.",
}


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong and who must act."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every answer of 400 and above."""

    error: ErrorBody


def render(problem: Problem) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body."""
    kind = "server_error" if problem.status >= 500 else _TYPES.get(problem.status, "invalid_request_error")
    answer = ErrorAnswer(ErrorBody(problem.message, kind, problem.param, problem.code))
    headers = [(b"content-type", b"application/json")]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status == 413:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    if problem.status == 503:
        headers.append((b"retry-after", b"1"))
    return problem.status, headers, msgspec.json.encode(answer)


def answer_problem(_: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """The answer to a problem of ours."""
    status, headers, body = render(problem)
    named = {name.decode(): value.decode() for name, value in headers[1:]}
    return Response(body, status_code=status, headers=named, media_type="application/json")


def answer_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The answer to what the framework refuses: a path, a method, a body."""
    status = error.status_code
    if status >= 500:
        return answer_bug(request, error)
    param, reason = _explain(error)
    message = f"{_MESSAGES.get(status, 'The request was refused.')}{reason}"
    return answer_problem(request, Problem(status, _CODES.get(status, "invalid_request"), message, param))


def answer_store(request: Request[Any, Any, Any], error: StoreError) -> Response[bytes]:
    """The answer when the database is away or in the way."""
    _LOG.warning("the database: %s", error)
    return answer_problem(request, Problem(503, "store_unavailable", "The database cannot be used now: try again."))


def answer_seal(request: Request[Any, Any, Any], error: SealError) -> Response[bytes]:
    """The answer when a master key is missing."""
    return answer_problem(request, Problem(409, "master_key", f"{error}."))


def answer_depth(request: Request[Any, Any, Any], _: RecursionError) -> Response[bytes]:
    """The answer to a body nested deeper than anything of ours."""
    return answer_problem(request, Problem(400, "invalid_request", "The request body is nested too deeply."))


def answer_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to our own mistake."""
    _LOG.error("a request to %s %s failed", request.method, request.scope["path"][:200], exc_info=_masked(error))
    return answer_problem(request, Problem(500, "internal_error", "The control plane made a mistake: see its log."))


def _masked(error: BaseException) -> BaseException:
    """The error with its traceback, and its type instead of a message that might quote what was sent."""
    return RuntimeError(type(error).__name__).with_traceback(error.__traceback__)


def _explain(error: HTTPException) -> tuple[str | None, str]:
    """Which field a body or query is wrong in, and what it must be; nothing of its value."""
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list) or not error.extra:
        return None, ""
    first = error.extra[0]
    if not isinstance(first, dict):
        return None, ""
    key = first.get("key")
    reason = str(first.get("message", ""))
    shown = reason if reason.startswith(("Expected", "Object", "Missing")) else "The value is not one of those allowed."
    return (str(key) if key else None), f" {shown}"
