"""What a model server itself says of an error, reduced to the four fields of the contract.

Nothing in it is trusted: any bytes make an error that callers can read. Pure functions.
"""

from typing import Any

import msgspec

from fastpath.errors import GatewayError

SILENT = "The model server reported an error without saying which."


def quote(status: int, data: bytes) -> GatewayError:
    """The error in a refusal's body or in an error event. status: what it would have been answered with."""
    fields = _fields(data)
    return GatewayError(
        status,
        _text(fields.get("code")) or "upstream_error",
        _text(fields.get("message")) or SILENT,
        type=_text(fields.get("type")) or "server_error",
        param=_text(fields.get("param")),
    )


def _fields(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    error = found.get("error", found) if isinstance(found, dict) else found
    return error if isinstance(error, dict) else {"message": error}


def _text(value: object) -> str | None:
    """Strings as they are, numbers as text (some servers send the status as code)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None
