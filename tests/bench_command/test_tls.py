"""An endpoint behind TLS: trusted with its authority's certificate, and never otherwise."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

STREAM = (
    b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": null}]}\n\n'
    b'data: {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
)


class Handler(BaseHTTPRequestHandler):
    """Answers every POST with a stream of two tokens."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(STREAM)))
        self.end_headers()
        self.wfile.write(STREAM)

    def log_message(self, format: str, *args: object) -> None:
        """Stays quiet."""


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """The base URL of a server whose authority's certificate is in ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # The handshake belongs to the connection's thread: one that fails must not end the listener.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda request, address: None  # type: ignore[method-assign]  # the refused handshakes
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def test_tls_is_verified(bench: Any, secure: str) -> None:
    flags = (secure, "--model", "m", "-n", "3", "--json")
    done = bench(*flags, "--ca-file", "ca.pem")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["throughput"]["output_tokens"] == 6
    refused = bench(*flags)
    assert refused.returncode == 2
    assert "does not answer: tls" in refused.stderr
