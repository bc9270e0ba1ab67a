"""A whole node: models and endpoints of the admin API, at the data plane and back, whatever changes or dies."""

import http.server
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import ModelServer
from tests.controlplane.conftest import Caller
from tests.controlplane.test_with_serve import IN_FORCE, SLACK, ControlledNode, make_key, until

CANARY = "sk-canary-of-endpoints"


class Upstream:
    """A model server of its own: wants `key`, counts chats, and can hold a stream open until `go`."""

    def __init__(self, key: str = CANARY) -> None:
        self.key = key
        self.chats = 0
        self.callers = 0  # connections that asked for a chat; probes have their own
        self.go = threading.Event()
        self.go.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            known = False

            def log_message(self, *_: Any) -> None: ...

            def _allowed(self) -> bool:
                if self.headers.get("authorization") == f"Bearer {outer.key}":
                    return True
                self._say(401, {"error": {"message": "no", "type": "invalid_request_error", "code": "invalid_api_key"}})
                return False

            def _say(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if self._allowed():
                    self._say(200, {"object": "list", "data": []})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if not self._allowed():
                    return
                outer.chats += 1
                outer.callers += not self.known
                self.known = True
                message = {"role": "assistant", "content": "hello"}
                if not asked.get("stream"):
                    choice = {"index": 0, "message": message, "finish_reason": "stop"}
                    self._say(200, {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]})
                    return
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self._chunk({"content": "one "}, None)
                outer.go.wait(60)
                self._chunk({"content": "two"}, "stop")
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def _chunk(self, delta: Any, finish: str | None) -> None:
                choice = {"index": 0, "delta": delta, "finish_reason": finish}
                chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def upstream(key: str = CANARY) -> Iterator[Upstream]:
    server = Upstream(key)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def node(tmp_path: Path, model_server: ModelServer) -> Iterator[Callable[..., ControlledNode]]:
    """Starts nodes on one state folder, one after the other: `node(**settings)`."""
    started: list[ControlledNode] = []

    def start(**settings: Any) -> ControlledNode:
        given = {"data_class": "P2", "watch": {"probe": {"interval": 0.5, "timeout": 2}}, "workers": 2, **settings}
        started.append(ControlledNode(tmp_path / "node", model_server.url, **given))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


def chat(node: ControlledNode, key: str, model: str = "small") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{node.url}/chat/completions", json=body, headers=headers, timeout=30)


def everywhere(node: ControlledNode, key: str, status: int, model: str = "small") -> bool:
    """Whether fresh connections, which both workers take, all meet this status."""
    return all(chat(node, key, model).status_code == status for _ in range(8))


def health(api: Caller, endpoint: str) -> tuple[str, str]:
    found = api.get(f"/endpoints/{endpoint}")
    return found["health"], found["message"]


def test_a_life_of_an_endpoint(node: Callable[..., ControlledNode]) -> None:
    served = node()
    api = served.admin_api()
    token, _ = make_key(api)
    until(lambda: chat(served, token).status_code == 404, "the key never worked")
    with upstream() as first, upstream() as second:
        model = api.make("/models", {"name": "small"})
        until(lambda: everywhere(served, token, 503), "a model without endpoints is not told as one", IN_FORCE * SLACK)
        assert chat(served, token).json()["error"]["code"] == "no_endpoint"
        body = {"model_id": model["id"], "api_key": CANARY}
        one = api.make("/endpoints", {**body, "name": "one", "url": first.url})
        until(lambda: everywhere(served, token, 200), "the endpoint is not used", IN_FORCE * SLACK)
        other = api.make("/endpoints", {**body, "name": "other", "url": second.url})
        until(lambda: chat(served, token).status_code == 200 and second.chats > 0, "the other is not used")
        until(lambda: health(api, one["id"]) == ("Running", ""), "it is not shown as Running")

        first.go.clear()
        answer: list[str] = []

        def stream() -> None:
            asked = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "stream": True}
            headers = {"authorization": f"Bearer {token}"}
            answer.append(httpx.post(f"{served.url}/chat/completions", json=asked, headers=headers, timeout=60).text)

        api.edit(f"/endpoints/{other['id']}", {"state": "draining"})
        until(lambda: not _grew(second, served, token), "a draining endpoint gets requests")
        before = first.chats
        reader = threading.Thread(target=stream)
        reader.start()
        until(lambda: first.chats > before, "the stream did not begin")
        api.edit(f"/endpoints/{other['id']}", {"state": "active"})
        until(lambda: _grew(second, served, token), "an endpoint that was taken back gets nothing")
        assert api.call("DELETE", f"/endpoints/{one['id']}").status_code == 204
        until(lambda: not _grew(first, served, token), "a removed endpoint gets requests", IN_FORCE * SLACK)
        assert reader.is_alive()
        first.go.set()
        reader.join(30)
        assert "two" in answer[0]
        assert "[DONE]" in answer[0]

        assert api.call("DELETE", f"/endpoints/{other['id']}").status_code == 204
        until(lambda: everywhere(served, token, 503), "the last endpoint is still used", IN_FORCE * SLACK)
        assert api.call("DELETE", f"/models/{model['id']}").status_code == 204
        until(lambda: everywhere(served, token, 404), "the model is still there", IN_FORCE * SLACK)
    assert served.ready() == {"status": "ready"}


def test_an_unchanged_endpoint_keeps_its_connections(node: Callable[..., ControlledNode]) -> None:
    served = node(workers=1)
    api = served.admin_api()
    token, _ = make_key(api)
    with upstream() as server:
        model = api.make("/models", {"name": "small"})
        place = {"model_id": model["id"], "api_key": CANARY}
        api.make("/endpoints", {**place, "name": "one", "url": server.url, "weight": 5})
        until(lambda: chat(served, token).status_code == 200, "the endpoint is not used")
        before = server.callers
        api.make("/models", {"name": "other"})
        spare = api.make("/endpoints", {**place, "name": "spare", "url": "http://127.0.0.1:9/v1", "weight": 0})
        seen = until(lambda: chat(served, token, "other").status_code == 503, "the model is not there")
        assert chat(served, token).status_code == 200
        changed = api.edit(f"/endpoints/{spare['id']}", {"chip": "h100"})
        assert changed["fields"]["chip"] == "h100"
        assert chat(served, token).status_code == 200
        assert server.callers == before or seen >= 4.0  # an idle connection is kept for so long


def _grew(server: Upstream, node: ControlledNode, token: str) -> bool:
    """Whether any of several chats, on fresh connections, goes there."""
    before = server.chats
    for _ in range(8):
        assert chat(node, token).status_code == 200
    return server.chats > before


def test_a_wrong_key_shows_soon_and_so_does_the_right_one(node: Callable[..., ControlledNode], tmp_path: Path) -> None:
    served = node()
    api = served.admin_api()
    token, _ = make_key(api)
    with upstream() as server:
        model = api.make("/models", {"name": "small"})
        wrong = f"{CANARY}-wrong"
        body = {"model_id": model["id"], "name": "one", "url": server.url, "api_key": wrong, "weight": 1}
        one = api.make("/endpoints", body)
        failed = until(lambda: health(api, one["id"])[0] == "Failed", "a bad key is not shown as Failed")
        assert failed < 3.0 * SLACK
        _, message = health(api, one["id"])
        assert "key" in message or "401" in message
        since = api.get(f"/endpoints/{one['id']}")["since"]
        assert since is not None
        api.edit(f"/endpoints/{one['id']}", {"weight": 3})  # which touches nothing else
        api.edit(f"/endpoints/{one['id']}", {"api_key": CANARY})
        running = until(lambda: health(api, one["id"])[0] == "Running", "a corrected key is not shown as Running")
        assert running < 5.0 * SLACK
        until(lambda: everywhere(served, token, 200), "callers do not use it")
        print(f"Failed after {failed:.2f} s, Running after {running:.2f} s")
        places = [served.admin(path) for path in ("/metrics", "/debug/requests", "/endpoints", "/readyz")]
        places += [api.call("GET", path).text for path in ("/endpoints", "/models", "/audit?limit=1000")]
        places.append("\n".join(served.lines))
    for place in places:
        assert CANARY not in place
    for path in (tmp_path / "node").rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_a_restart_keeps_ids_and_serves_what_was_published(node: Callable[..., ControlledNode]) -> None:
    first = node()
    api = first.admin_api()
    token, _ = make_key(api)
    with upstream() as server:
        model = api.make("/models", {"name": "small"})
        one = api.make("/endpoints", {"model_id": model["id"], "name": "one", "url": server.url, "api_key": CANARY})
        until(lambda: everywhere(first, token, 200), "the endpoint is not used")
        until(lambda: len(api.get("/endpoints")["data"]) == 2, "the file's endpoint is not shown")
        ids = [found["id"] for found in api.get("/endpoints")["data"]]
        first.process.kill()
        first.end()
        second = node()
        assert everywhere(second, token, 200)  # before its control process has said anything
        again = second.admin_api(api.token)
        until(lambda: [found["id"] for found in again.get("/endpoints")["data"]] == ids, "ids changed")
        until(lambda: health(again, one["id"])[0] == "Running", "nobody watches it")


def test_the_file_wins_and_it_is_said(node: Callable[..., ControlledNode], model_server: ModelServer) -> None:
    first = node()
    api = first.admin_api()
    token, _ = make_key(api)
    with upstream() as server:
        model = api.make("/models", {"name": "small"})
        api.make("/endpoints", {"model_id": model["id"], "name": "one", "url": server.url, "api_key": CANARY})
        until(lambda: everywhere(first, token, 200), "the endpoint is not used")
        assert api.call("POST", "/models", {"name": "llama"}).status_code in (409,)
        first.end()
        file = {"endpoints": [{"url": model_server.url, "model": "llama", "api_key": "${UPSTREAM_KEY}", "tier": "L1"}]}
        second = node(models=[{"name": "small", **file}])
        again = second.admin_api(api.token)
        second.line("model small of the admin API and its endpoints are not used: the settings file has a model")
        before = server.chats
        assert everywhere(second, token, 200)
        assert server.chats == before
        until(lambda: again.get(f"/models/{model['id']}")["shadowed"], "it is not shown as shadowed")


def test_models_that_cannot_be_served_are_refused_whole_and_the_old_stay(
    node: Callable[..., ControlledNode],
) -> None:
    served = node(data_class=None, models=[])
    api = served.admin_api()
    token, _ = make_key(api)
    with upstream() as server:
        model = api.make("/models", {"name": "small"})
        place = {"model_id": model["id"], "url": server.url, "api_key": CANARY}
        one = api.make("/endpoints", {**place, "name": "one"})
        until(lambda: everywhere(served, token, 200), "the endpoint is not used")

        refused = api.call("POST", "/endpoints", {**place, "name": "home", "tier": "L1", "model": "x"})
        assert refused.status_code == 422  # the admin API says it before anything is stored
        assert "data_class" in refused.json()["error"]["message"]

        with closing(sqlite3.connect(served.state / "control.db")) as database, database:  # which a bug might do
            database.execute("UPDATE models SET says = ?", (json.dumps({"fallbacks": ["none"]}),))
        other = api.make("/models", {"name": "other"})
        served.line("publication not taken: models of the admin API")
        until(lambda: "fallbacks" in api.get(f"/endpoints/{one['id']}")["message"], "the admin is not told")
        assert served.ready()["status"] == "degraded"
        assert everywhere(served, token, 200)
        assert everywhere(served, token, 404, "other")
        api.edit(f"/models/{model['id']}", {"fallbacks": None})
        until(lambda: everywhere(served, token, 503, "other"), "what was mended is not taken", IN_FORCE * SLACK)
        until(lambda: served.ready() == {"status": "ready"}, "it goes on saying degraded")

        file = yaml.safe_load(served.path.read_text())
        local = {"name": "local", "endpoints": [{"url": "http://127.0.0.1:9/v1", "tier": "L1"}]}
        served.path.write_text(yaml.safe_dump(file | {"models": [local]}))
        until(lambda: any("settings not reloaded" in line for line in served.lines), "a mixture was loaded")
        assert any("data_class" in line for line in served.lines)
        assert everywhere(served, token, 404, "local")
        assert everywhere(served, token, 200)
        assert api.call("DELETE", f"/models/{other['id']}").status_code == 204
