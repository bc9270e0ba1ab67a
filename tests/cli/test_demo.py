"""`fastpath demo` beside the commands it prints, which the tests of the documents run."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

import fastpath
from fastpath.demo import find_servers, list_models, notice, requests_to_try

HOME = str(Path(fastpath.__file__).resolve().parents[1])


@contextmanager
def serving(body: bytes) -> Iterator[int]:
    """A server that answers every GET with `body`, and 401 to who sends another key than `k`; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("authorization") in (None, "Bearer k")
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(body if allowed else b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Stays quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_model_server_nearby_is_found_by_its_list() -> None:
    with serving(b'{"data": [{"id": "llama"}]}') as port, serving(b"<html>not a model server</html>") as other:
        assert list_models(f"http://127.0.0.1:{port}/v1", "k") == ["llama"]
        assert list_models(f"http://127.0.0.1:{port}/v1/", "another") == []
        assert find_servers([("Ollama", port), ("vLLM", other)]) == [("Ollama", f"http://127.0.0.1:{port}/v1")]


@pytest.mark.parametrize("body", [b'{"data": 1}', b'{"data": [{}]}', b'{"data": [1]}', b"[]", b"", b"\xff"])
def test_whatever_else_listens_there_is_no_model_server(body: bytes) -> None:
    with serving(body) as port:
        assert list_models(f"http://127.0.0.1:{port}/v1", None) == []


def test_the_notice_says_how_to_use_the_one_that_was_found() -> None:
    assert notice([]).startswith("demo model")
    assert "make run UPSTREAM=http://127.0.0.1:1/v1" in notice([("Ollama", "http://127.0.0.1:1/v1")])


def test_the_printed_body_is_json_with_the_model() -> None:
    shown = requests_to_try("http://127.0.0.1:8340", "demo-model")
    body = shown.partition("-d '")[2].partition("'\n")[0]
    assert json.loads(body)["model"] == "demo-model"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_and_takes_its_model_server_along(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "fastpath.cli", "demo", "--port", "0", "--admin-port", "0"]
    environ = {"PYTHONPATH": HOME, "HOME": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        lines = iter(program.stderr.readline, "Ctrl-C stops it.\n")
        assert any("curl -N http://127.0.0.1:" in line for line in lines)
        children = psutil.Process(program.pid).children(recursive=True)
        program.send_signal(number)
        assert program.wait(30) == 0
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_url_that_cannot_be_served_is_a_mistake(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fastpath.cli", "demo", "--upstream", "nonsense"]
    environ = {"PYTHONPATH": HOME, "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "must begin with http:// or https://" in done.stderr
