"""Requests as read from the socket, and the decoding of their bodies. No I/O."""

import hashlib
import re
from typing import Any, TypeVar
from urllib.parse import unquote

import h11
import msgspec

from backends.mock.errors import RefusedError
from backends.mock.fault import NO_FAULT, Fault

T = TypeVar("T")

WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
"""Where msgspec says a value has the wrong type."""


class Request:
    """One request; `body` grows until `complete`. `length` counts all of its bytes, kept or not."""

    def __init__(self, event: h11.Request) -> None:
        path, _, query = event.target.decode("latin-1").partition("?")
        self.method = event.method.decode("latin-1")
        self.path = unquote(path)
        self.query = query
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
        self.version = event.http_version.decode("latin-1")
        self.body = bytearray()
        self.length = 0
        self.complete = False
        self.oversized = False
        self.fault: Fault | None = None
        self._hash = hashlib.sha256()

    def receive(self, data: bytes, limit: int) -> None:
        """Adds body bytes; beyond `limit` the request is `oversized` and keeps none."""
        self._hash.update(data)
        self.length += len(data)
        self.oversized = self.length > limit
        if self.oversized:
            self.body.clear()
        else:
            self.body += data

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of all body bytes received so far."""
        return self._hash.hexdigest()

    def header(self, name: str) -> str:
        """Value of the first header of that (lower case) name, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def wants_close(self) -> bool:
        """Whether the connection must end after the answer."""
        return self.version == "1.0" or "close" in self.header("connection").lower()


class Common(msgspec.Struct):
    """The fields that every JSON body may have."""

    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    mock: Fault | None = None
    tag: str | None = None


def decode_body(data: bytes | bytearray, kind: type[T]) -> T:
    """Body as `kind`. Raises RefusedError (400) with the position of bad JSON or the path of a wrong type."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, f"The body is not valid JSON: {error}", code="invalid_json") from error


def decode_fault(text: str) -> Fault:
    """A fault given as JSON text (form field). Raises RefusedError (400)."""
    return decode_body(text.encode(), Fault) if text else NO_FAULT


def _wrong_type(message: str) -> RefusedError:
    found = WHERE.search(message)
    param = found["path"] if found else None
    return RefusedError(400, f"Invalid request: {message}", code="invalid_type", param=param or None)
