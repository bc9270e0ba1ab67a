"""multipart/form-data bodies, read whole. Pure functions.

A small strict reader: the mock has the whole body in memory, so a push parser would buy nothing.
"""

import re

import msgspec

from backends.mock.errors import RefusedError

PARAMETER = re.compile(r';\s*(?P<name>[a-zA-Z*]+)=(?:"(?P<quoted>[^"]*)"|(?P<plain>[^;\s]+))')


class File(msgspec.Struct, frozen=True):
    """An uploaded file."""

    name: str
    filename: str
    data: bytes


class Form(msgspec.Struct, frozen=True):
    """Fields (the last of a name wins) and files, in order."""

    fields: dict[str, str]
    files: tuple[File, ...]

    def field(self, name: str) -> str:
        """The field's text, or an empty string."""
        return self.fields.get(name, "")

    def number(self, name: str, default: int) -> int:
        """The field as an integer. Raises RefusedError (400)."""
        text = self.field(name)
        if text and not text.isdecimal():
            raise RefusedError(400, f"{name} must be an integer", param=name, code="invalid_type")
        return int(text) if text else default


def parse_form(content_type: str, body: bytes) -> Form:
    """Raises RefusedError (400) when the body is no multipart form."""
    parameters = _parameters(content_type)
    if not content_type.lower().startswith("multipart/form-data") or "boundary" not in parameters:
        raise RefusedError(400, "Expected a multipart/form-data body with a boundary.", code="invalid_content_type")
    edge = b"--" + parameters["boundary"].encode()
    parts = (b"\r\n" + body).split(b"\r\n" + edge)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise RefusedError(400, "The multipart body has no closing boundary.", code="invalid_multipart")
    return _collect(parts[1:-1])


def _collect(parts: list[bytes]) -> Form:
    fields: dict[str, str] = {}
    files: list[File] = []
    for part in parts:
        head, _, data = part.partition(b"\r\n\r\n")
        parameters = _parameters(_disposition(head.decode("utf-8", "replace")))
        name = parameters.get("name", "")
        if "filename" in parameters:
            files.append(File(name, parameters["filename"], data))
        else:
            fields[name] = data.decode("utf-8", "replace")
    return Form(fields, tuple(files))


def _disposition(head: str) -> str:
    lines = (line.partition(":") for line in head.split("\r\n"))
    return next((value for name, _, value in lines if name.strip().lower() == "content-disposition"), "")


def _parameters(value: str) -> dict[str, str]:
    return {match["name"].lower(): match["quoted"] or match["plain"] or "" for match in PARAMETER.finditer(value)}
