"""Refusals and their bodies in the dialect of the path. Pure data."""

from typing import Any

import msgspec

from backends.mock.paths import speaks_gemini, speaks_ollama

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class RefusedError(Exception):
    """A request that gets an error answer. `param` is a JSON path or field name, `code` what programs match on."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


def error_tree(path: str, error: RefusedError) -> dict[str, Any]:
    """The error object of the dialect that is spoken at `path`."""
    if path.startswith("/v1/messages"):
        kind = ANTHROPIC_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": None}
    if speaks_gemini(path):
        return {"error": _google_error(error)}
    if speaks_ollama(path):
        return {"error": error.message}
    return {"error": _openai_error(error)}


def error_body(path: str, error: RefusedError) -> bytes:
    """The same as JSON bytes."""
    return msgspec.json.encode(error_tree(path, error))


def _google_error(error: RefusedError) -> dict[str, Any]:
    found = {"code": error.status, "message": error.message, "status": GOOGLE_STATUSES.get(error.status, "UNKNOWN")}
    if error.code is None:
        return found
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code, "domain": "googleapis.com"}
    return found | {"details": [info]}


def _openai_error(error: RefusedError) -> dict[str, Any]:
    kind = OPENAI_TYPES.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"message": error.message, "type": kind, "param": error.param, "code": error.code}
