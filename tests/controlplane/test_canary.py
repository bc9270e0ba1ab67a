"""No credential shows anywhere: a secret in every slot, every kind of error, then a search through all that is written.

Searched: every answer, standard output and error, the command line, every file of the state folder, the audit trail.
"""

import base64
import secrets
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from controlplane.app import Rooms
from tests.controlplane.conftest import Caller, ControlProcess, cast_of
from tests.controlplane.test_gate import bad_requests


class Recorder:
    """Keeps all that a client is answered."""

    def __init__(self, control: ControlProcess) -> None:
        self.read: list[bytes] = []
        control.client.event_hooks["response"] = [self._keep]

    def _keep(self, answer: Any) -> None:
        self.read.append(answer.read() + repr(answer.headers.multi_items()).encode())


def forms(secret: str) -> tuple[bytes, ...]:
    """A secret as it might be written down."""
    raw = secret.encode()
    return (raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), secret.split("-")[-1].encode())


def test_no_secret_shows_where_it_was_not_issued(start: Any) -> None:
    master, provider = secrets.token_hex(32), f"sk-canary-{secrets.token_hex(16)}"
    control: ControlProcess = start(
        environ={"MASTER": master}, master_key={"type": "environment", "variable": "MASTER"}
    )
    recorder = Recorder(control)
    cast = cast_of(control.init())
    admin = cast.admin
    issued = [admin.token, cast.ids["token"], cast.other["token"]]
    issued += [caller.token for caller in (*cast.callers.values(), *cast.strangers.values())]
    held = admin.make("/provider-keys", {"name": "canary", "value": provider})
    rotated = admin.make(f"/keys/{cast.ids['key']}/rotate", {})
    issued.append(rotated["token"])
    shown_once = len(recorder.read)
    _stir(admin, cast, held, provider, issued)
    written = recorder.read[shown_once:]
    found = admin.call("GET", "/audit?limit=1000").content
    lines = "\n".join(control.lines).encode()
    command = " ".join(psutil.Process(control.process.pid).cmdline()).encode()
    control.end()
    files = {path.name: path.read_bytes() for path in control.state.iterdir() if path.is_file()}
    places = {**files, "audit": found, "output": lines + "\n".join(control.lines).encode(), "arguments": command}
    places |= {f"answer {number}": answer for number, answer in enumerate(written)}
    assert len(places) > 40
    for secret in {*issued, provider, master}:
        for form in forms(secret):
            assert [name for name, text in places.items() if form in text] == []


def _stir(admin: Caller, cast: Any, held: Any, provider: str, issued: list[str]) -> None:
    """Every error there is, with secrets where they belong and where they do not."""
    bad_requests(cast)
    for path in ("/tenants", "/teams", "/users", "/keys", "/admin-keys", "/provider-keys", "/audit", "/audit/verify"):
        admin.call("GET", path)
    path = f"/provider-keys/{held['id']}"
    admin.call("PATCH", path, {"value": provider, "name": "openai"})  # taken
    admin.call("PATCH", path, {"value": provider})
    for wrong in ([provider], {"a": provider}, provider + "\n", provider + " "):
        admin.call("POST", "/provider-keys", {"name": "x", "value": wrong})
    for slot in ({"name": provider + " "}, {"name": [provider]}, {"data_class": provider, "name": "x"}):
        admin.call("POST", "/tenants", slot)
    admin.call("POST", "/admin-keys", {"name": "x", "role": provider})
    admin.call("GET", f"/keys?after={provider}")
    for token in (*issued, provider):
        admin.as_(token + "x").call("GET", "/me")
        admin.call("GET", f"/keys/{token}")
        admin.call("GET", f"/{token}")
        admin.call("GET", "/me", origin=f"http://{token}")
        admin.call("GET", "/me", host=token)
    admin.call("GET", path)


async def test_a_crash_of_ours_tells_no_value(
    rooms: Rooms, api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    canary = f"sk-canary-{secrets.token_hex(16)}"
    async with rooms.database.begin() as connection:
        await connection.execute(text("DROP TABLE provider_keys"))
    answer = await api.post("/provider-keys", json={"name": "x", "value": canary})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "POST /admin/v1/provider-keys failed" in caplog.text
    assert "vault.py" in caplog.text
    assert canary not in answer.text + caplog.text
