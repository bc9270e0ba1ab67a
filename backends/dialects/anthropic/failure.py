"""Errors of the Messages API in OpenAI's words. Nothing in them is trusted: any bytes make an error. Pure."""

import msgspec

from backends.dialects.chunks import error_body

SILENT = "The model server reported an error without saying which."
_TYPES = {
    "invalid_request_error": "invalid_request_error",
    "not_found_error": "invalid_request_error",
    "request_too_large": "invalid_request_error",
    "authentication_error": "authentication_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
    "timeout_error": "timeout",
}
#: Refusals that are about the endpoint's own account, whatever status they came with.
_OURS = frozenset({"authentication_error", "permission_error", "billing_error"})
_TOO_LONG = ("prompt is too long", "exceed context limit")


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _Body(msgspec.Struct):
    error: _Error | None = None


_BODY = msgspec.json.Decoder(_Body)


def retell(body: bytes) -> bytes:
    """An error object, whole or of an event, as OpenAI's."""
    error = _read(body)
    code = error.type or "upstream_error"
    if error.type == "not_found_error" and "model" in error.message:
        code = "model_not_found"
    elif error.type == "invalid_request_error" and any(words in error.message for words in _TOO_LONG):
        code = "context_length_exceeded"
    return error_body(error.message or SILENT, _TYPES.get(error.type, "server_error"), code)


def retell_refusal(status: int, body: bytes) -> tuple[int, bytes]:
    """A refusal: its status (403 for what is about our account, which callers cannot mend) and body."""
    return (403 if _read(body).type in _OURS else status), retell(body)


def _read(body: bytes) -> _Error:
    try:
        return _BODY.decode(body).error or _Error()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error()
