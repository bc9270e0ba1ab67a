"""Decisions of a gateway of several processes: found by whichever worker is asked, whoever is killed between."""

import http.client
import json
import time
from pathlib import Path
from typing import Any

import psutil
from typer.testing import CliRunner

from fastpath.cli import app

PATIENCE = 60.0


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


MODEL = {"model": "llama", "messages": [{"role": "user", "content": "hello"}]}


def foretell(folder: Path, *options: str) -> tuple[int, str]:
    (folder / "request.json").write_text(json.dumps(MODEL))
    files = ("--config", str(folder / "rehearsal.yaml"), "--request", str(folder / "request.json"))
    done = CliRunner().invoke(app, ["route", "explain", *files, *options])
    return done.exit_code, done.output


def test_what_a_running_gateway_knows_decides_and_no_request_is_sent(launch: Any, tmp_path: Path) -> None:
    """The first place is broken: by the file alone it would be the one, by the gateway's word it is out."""
    mocks = [launch.mock("--model", "llama", "--tokens", "2") for _ in range(2)]
    mocks[0].script({"status": 500})
    endpoints = [
        {"name": name, "url": mock.url, "api_key": "${UPSTREAM_KEY}", "tier": tier}
        for name, mock, tier in zip(("rack", "cloud"), mocks, ("L1", "L2"), strict=True)
    ]
    retries = {"budget_min": 1000}  # a slow machine may need more than the usual three until it is out at both workers
    settings = {"data_class": "P2", "retries": retries, "models": [{"name": "llama", "endpoints": endpoints}]}
    plain = [{**each, "api_key": "sk"} for each in endpoints]
    written = json.dumps({**settings, "models": [{"name": "llama", "endpoints": plain}]})
    (tmp_path / "rehearsal.yaml").write_text(written)
    node = launch.gateway({**settings, "workers": 2, "health": {"out": 300, "out_max": 300}})
    port = int(node.url.rpartition(":")[2].removesuffix("/v1"))
    end = time.monotonic() + PATIENCE
    while "out for" not in (told := foretell(tmp_path, "--live", node.admin_url)[1]):
        assert time.monotonic() < end, told
        assert ask(port, node.key, "POST", "/v1/chat/completions", MODEL).status == 200
    sent = [len(mock.records()) for mock in mocks]
    assert "llama would go to cloud, tier L2; nothing was sent" in told
    assert "performance dropped rack (out)" in told
    code, found = foretell(tmp_path, "--live", node.admin_url, "--json")
    assert code == 0
    load = {one["endpoint"]: one for one in json.loads(found)["load"]}
    assert 0 < load["rack"]["out_for_s"] <= 300
    assert load["cloud"]["out_for_s"] == 0
    code, told = foretell(tmp_path)
    assert (code, told.splitlines()[0]) == (0, "llama would go to rack, tier L1; nothing was sent")
    assert [len(mock.records()) for mock in mocks] == sent
    for url, words in (("http://127.0.0.1:1", "no gateway answers"), (node.url, "is it an admin port?")):
        code, told = foretell(tmp_path, "--live", url)
        assert code == 1
        assert words in told
    (tmp_path / "rehearsal.yaml").write_text(written.replace('"rack"', '"r"').replace('"cloud"', '"c"'))
    code, told = foretell(tmp_path, "--live", node.admin_url)
    assert code == 1
    assert "none of the endpoints" in told
