"""A client of the admin API for the command line.

Owns the requests, and how answers that refuse are told. Blocks; one thread. The admin key comes from the environment or
a private file, never from an argument; a token of an identity provider stands in the same place.
"""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from fastpath.settings.private import PrivateFileError, read_private
from fastpath.settings.secret import Secret
from fastpath.settings.syntax import is_loopback

PATIENCE: Final = 30.0
MOST_KEY: Final = 16 * 1024
URL: Final = "http://127.0.0.1:8342"


class ClientError(Exception):
    """A request was refused or did not arrive. The message says who must do what."""


def find_key(environ: Mapping[str, str], key_file: Path | None) -> Secret:
    """The admin key: of a private file, else of FASTPATH_ADMIN_KEY. Raises ClientError."""
    try:
        content = None if key_file is None else read_private(key_file, MOST_KEY)
    except PrivateFileError as error:
        raise ClientError(str(error)) from None
    if key_file is not None and content is None:
        raise ClientError(f"{key_file} is missing")
    found = (content.decode("latin-1") if content is not None else environ.get("FASTPATH_ADMIN_KEY", "")).strip()
    if not found:
        raise ClientError("no admin key: set FASTPATH_ADMIN_KEY, or name its file with --key-file")
    return Secret(found)


class Client:
    """Calls the admin API at `url` with one admin key."""

    def __init__(self, url: str, key: Secret) -> None:
        """Raises ClientError for a URL that would carry the key readable over a network."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError("--url must be such as http://127.0.0.1:8342 or https://gateway.example:8342")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ClientError("an admin key does not go over a network in plain HTTP: use https, or a tunnel")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=PATIENCE)
        self._url = url
        self._key = key

    def call(self, method: str, path: str, body: object = None, **query: str | int | None) -> Any:
        """The answer's JSON, None when it has none. Raises ClientError with what the answer says."""
        asked = {name: value for name, value in query.items() if value is not None}
        target = f"/admin/v1{path}{'?' + urlencode(asked) if asked else ''}"
        headers = {"authorization": f"Bearer {self._key.reveal()}"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["content-type"] = "application/json"
        try:
            self._connection.request(method, target, data, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ClientError(f"no control process answers at {self._url} ({error}): start it, or give --url") from None
        return _read(answer.status, content)

    def pages(self, path: str, **query: str | None) -> list[Any]:
        """All of a list."""
        found: list[Any] = []
        after = None
        while True:
            page = self.call("GET", path, None, limit=1000, after=after, **query)
            found += page["data"]
            after = page["next"]
            if after is None:
                return found


def _read(status: int, content: bytes) -> Any:
    try:
        value = json.loads(content) if content else None
    except ValueError:
        raise ClientError(f"status {status} and no JSON: is that the admin API?") from None
    if status < 400:
        return value
    error = value.get("error", {}) if isinstance(value, dict) else {}
    raise ClientError(f"{error.get('message', 'refused')} ({error.get('code', status)})")
