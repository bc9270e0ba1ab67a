"""Where the command line gets a decision: the records of a state folder, or the admin API of a control process.

Owns both ways, and the one to what a running gateway says of its endpoints. Blocks. The admin key comes from the
environment or a private file, never from an argument, and does not go over a network in plain HTTP.
"""

import http.client
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from fastpath.explain.archive import FOLDER
from fastpath.explain.decision import Decision, id_of
from fastpath.explain.shelf import Shelf
from fastpath.route.live import LiveEndpoint
from fastpath.settings.private import PrivateFileError, check_private_folder, read_private
from fastpath.settings.syntax import is_loopback

PATIENCE: Final = 30.0
_MOST_KEY: Final = 16 * 1024
_MOST_ANSWER: Final = 1 << 20
_MOST_LOAD: Final = 64 << 20


class SourceError(Exception):
    """A decision could not be had. The message says who must do what."""


def read_local(state: Path, text: str, keep: float) -> Decision:
    """The decision of a request, from the state folder of the gateway on this machine. keep: seconds."""
    request = id_of(text)
    if request is None:
        raise SourceError("an id is req_ and 32 hex digits: the x-request-id of the answer")
    folder = state / FOLDER
    try:
        found = check_private_folder(folder)
    except PrivateFileError as error:
        raise SourceError(str(error)) from None
    if not found:
        raise SourceError(
            f"{state} holds no decisions: name the gateway's --state-dir, or ask its admin API with --url"
        )
    decision = Shelf(folder).find(request, time.time() - keep)
    if decision is None:
        raise SourceError("there is no record of that request: it is too old, or left none (see `decisions.share`)")
    return decision


def read_remote(url: str, text: str, key_file: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """The public JSON of a decision, from the admin API at `url`."""
    if id_of(text) is None:
        raise SourceError("an id is req_ and 32 hex digits: the x-request-id of the answer")
    headers = {"authorization": f"Bearer {_find_key(key_file, environ)}"}
    connection = _connect(url)
    try:
        connection.request("GET", f"/admin/v1/decisions/{text}", headers=headers)
        answer = connection.getresponse()
        content = answer.read(_MOST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"no control process answers at {url} ({error}): start it, or give another --url") from None
    finally:
        connection.close()
    return _judge(answer.status, content)


def read_load(url: str) -> list[LiveEndpoint]:
    """What a running gateway knows of its endpoints' load and health, from its admin port at `url`."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise SourceError("--live must be the admin port's address, such as http://127.0.0.1:8341")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/debug/load")
        answer = connection.getresponse()
        content = answer.read(_MOST_LOAD)
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(
            f"no gateway answers at {url} ({error}): start it, or give its admin port to --live"
        ) from None
    finally:
        connection.close()
    try:
        return msgspec.json.decode(content, type=list[LiveEndpoint])
    except msgspec.DecodeError:
        raise SourceError(f"{url} does not tell its load (status {answer.status}): is it an admin port?") from None


def _judge(status: int, content: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        raise SourceError(f"status {status} and no JSON: is that the admin API?") from None
    if status != 200:
        error = found.get("error")
        message = error.get("message", "refused") if isinstance(error, dict) else "refused"
        raise SourceError(f"{message} (status {status})")
    return found


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError("--url must be such as http://127.0.0.1:8342 or https://gateway.example:8342")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise SourceError("an admin key does not go over a network in plain HTTP: use https, or a tunnel")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=PATIENCE)


def _find_key(key_file: Path | None, environ: Mapping[str, str]) -> str:
    try:
        content = None if key_file is None else read_private(key_file, _MOST_KEY)
    except PrivateFileError as error:
        raise SourceError(str(error)) from None
    found = (content.decode("latin-1") if content is not None else environ.get("FASTPATH_ADMIN_KEY", "")).strip()
    if not found:
        raise SourceError("no admin key: set FASTPATH_ADMIN_KEY, or name its file with --key-file")
    return found
