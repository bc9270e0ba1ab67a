"""A receiver of webhooks on loopback that answers as told and checks every signature as a stranger would."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec


class Delivery(msgspec.Struct):
    """One request that came in."""

    id: str
    timestamp: str
    signature: str
    body: bytes
    headers: dict[str, str]

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]

    def is_signed_with(self, secret: str) -> bool:
        """As the Standard Webhooks specification has it, written anew."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.timestamp}.".encode() + self.body
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in self.signature.split(" ")


class Receiver:
    """Use as a context manager. `answer` gives the status for the number of requests so far."""

    def __init__(self, answer: Callable[[int], int] = lambda count: 204) -> None:
        self.got: list[Delivery] = []
        self.answer = answer
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sent = {name.lower(): value for name, value in self.headers.items()}
                named = (sent.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
                receiver.got.append(Delivery(*named, body, sent))
                status = receiver.answer(len(receiver.got))
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
