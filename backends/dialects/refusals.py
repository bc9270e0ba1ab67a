"""A provider's refusal in OpenAI's words, for dialects whose errors are little more than a status and a text. Pure."""

from backends.dialects.chunks import error_body

#: Characters of a provider's message that are passed on.
LONGEST = 2000

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def refusal(status: int, message: str, code: str | None = None) -> bytes:
    """OpenAI's error object as JSON, its type by the status. code: None for the status's usual one."""
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    text = message[:LONGEST] or f"The provider answered with status {status}."
    return error_body(text, kind, code or _CODES.get(status))
