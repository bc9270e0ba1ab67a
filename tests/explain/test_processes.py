"""Decisions of a gateway of several processes: found by whichever worker is asked, whoever is killed between."""

import http.client
import json
import time
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from fastpath.cli import app

PATIENCE = 30.0


def ask(port: int, key: str, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
    """One answer on its own connection; asks again while no worker is there."""
    end = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "connection": "close"}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            return connection.getresponse()
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() < end, "no worker answers"
            time.sleep(0.05)


def test_every_worker_finds_what_any_has_kept(launch: Any) -> None:
    mock = launch.mock("--model", "llama", "--tokens", "6")
    endpoint = {"url": mock.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1", "name": "rack"}
    models = [{"name": "llama", "endpoints": [endpoint]}]
    node = launch.gateway({"workers": 2, "models": models, "decisions": {"share": 1}})
    port = int(node.url.rpartition(":")[2].removesuffix("/v1"))
    body = {"model": "llama", "messages": [{"role": "user", "content": "hello"}]}
    ids = []
    for _ in range(8):
        answer = ask(port, node.key, "POST", "/v1/chat/completions", body)
        assert answer.status == 200
        answer.read()
        ids.append(answer.getheader("x-request-id"))
    for request in ids * 2:
        assert ask(port, node.key, "GET", f"/v1/decisions/{request}").status == 200
    before = {child.pid for child in node.children() if "fastpath.process.worker" in child.cmdline()}
    assert len(before) == 2
    for pid in before:
        psutil.Process(pid).kill()
    for request in ids:
        found = json.loads(ask(port, node.key, "GET", f"/v1/decisions/{request}").read())
        assert found["id"] == request
        assert found["outcome"] == "complete"
    assert not before & {child.pid for child in node.children()}
    told = CliRunner().invoke(app, ["explain", ids[0], "--state-dir", str(Path(node.folder) / "state")])
    assert told.exit_code == 0
    assert "by rack, tier L1, after 1 attempt" in told.output
