"""Model servers that nobody here wrote: nginx, haproxy with an nginx behind it, and Node's http module.

Owns their processes and reads the log that each keeps of every request line it sees, the body as it arrived included.
Each answers any request with one fixed completion. Started on free ports of the loopback; a `Court` ends them all.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.ports import free_ports

NODE_PROGRAM = Path(__file__).with_name("node_server.cjs")
PATIENCE = 60.0
#: Path of the request that closes a log.
END = "/the-end"
ANSWER = (
    '{"id":"witness","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,'
    '"total_tokens":2}}'
)
NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  log_format seen escape=json '{{"line":"$request","id":"$http_x_request_id","length":"$http_content_length",'
    '"coding":"$http_transfer_encoding","body":"$request_body"}}';
  keepalive_requests 1000000; keepalive_timeout 300s; default_type application/json;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 4m; client_body_buffer_size 1m; ignore_invalid_headers off; underscores_in_headers on;
  server {{ listen 127.0.0.1:{port} backlog=1024; access_log {folder}/nginx.log seen; location / {{ {relay} }} }}
  server {{ listen 127.0.0.1:{behind} backlog=1024; access_log {folder}/behind.log seen; location / {{ {relay} }} }}
  server {{ listen 127.0.0.1:{inner} backlog=1024; access_log off; location / {{ return 200 '{answer}'; }} }} }}
"""
RELAY = 'proxy_pass http://127.0.0.1:{inner}; proxy_http_version 1.1; proxy_set_header Connection "";'
HAPROXY = """\
global
  nbthread 1
  maxconn 4000
  log stdout len 65535 format raw local0
  tune.bufsize 65536
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
frontend f
  bind 127.0.0.1:{port}
  option dontlognull
  option http-buffer-request
  http-request set-var(txn.id) req.hdr(x-request-id)
  http-request set-var(txn.length) req.hdr(content-length)
  http-request set-var(txn.coding) req.hdr(transfer-encoding)
  http-request set-var(txn.body) req.body,hex
  log-format "%r|%[var(txn.id)]|%[var(txn.length)]|%[var(txn.coding)]|%[var(txn.body)]"
  default_backend b
backend b
  server s 127.0.0.1:{behind}
"""


@dataclass(frozen=True)
class Seen:
    """One request as a model server logged it. id: the gateway's x-request-id; length, coding: its framing fields;
    names: of all its fields, where the server tells (Node)."""

    line: str
    id: str
    length: str
    coding: str
    body: bytes
    names: frozenset[str] = frozenset()


@dataclass
class Witness:
    """One model server. `log` is the file it writes, `port` where it listens."""

    name: str
    port: int
    log: Path

    def seen(self) -> list[Seen]:
        """Every request logged so far, in the order of the log."""
        read = _from_haproxy if self.name == "hapro" else _from_json
        return [seen for seen in map(read, filter(None, self.text().split("\n"))) if END not in seen.line]

    def text(self) -> str:
        return self.log.read_text("latin-1")

    def close_the_log(self) -> None:
        """Returns when a last request, made here, is in the log: what arrived before it is in there too."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as channel:
            channel.sendall(b"GET %b HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n" % END.encode())
            while channel.recv(4096):
                pass
        end = time.monotonic() + PATIENCE
        while END not in self.text():
            assert time.monotonic() < end, f"{self.name} does not log"
            time.sleep(0.01)


class Court:
    """The witnesses. Models of the gateway carry their names, five letters each, so that bodies are of one length."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.witnesses: list[Witness] = []
        self.behind = Witness("behind", 0, folder / "behind.log")

    def __enter__(self) -> Self:
        ports = free_ports(5)
        nginx, hapro, noded, behind, inner = ports
        relay = RELAY.format(inner=inner)
        self._write(
            "nginx.conf",
            NGINX.format(folder=self._folder, port=nginx, behind=behind, inner=inner, relay=relay, answer=ANSWER),
        )
        self._write("haproxy.cfg", HAPROXY.format(port=hapro, behind=behind))
        self._start("nginx", "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr")
        self._start("haproxy", "-db", "-f", str(self._folder / "haproxy.cfg"), log="hapro.log")
        self._start("node", str(NODE_PROGRAM), str(noded), ANSWER, log="noded.log")
        names = zip(("nginx", "hapro", "noded"), (nginx, hapro, noded), strict=True)
        self.witnesses = [Witness(name, port, self._folder / f"{name}.log") for name, port in names]
        self.behind.port = behind
        for port in ports:
            _wait_for(port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def _start(self, program: str, *flags: str, log: str | None = None) -> None:
        place = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        assert place, f"{program} is not installed"
        output = self._stack.enter_context((self._folder / (log or f"{program}.out")).open("wb"))
        errors = self._stack.enter_context((self._folder / f"{program}.errors").open("wb"))
        process = subprocess.Popen([place, *flags], stdout=output, stderr=errors, stdin=subprocess.DEVNULL)
        self._stack.callback(process.wait, PATIENCE)
        self._stack.callback(process.terminate)


def _wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end, f"nothing listens on {port}"
            time.sleep(0.02)


def _from_json(line: str) -> Seen:
    found = json.loads(line)
    body, names = found["body"].encode("latin-1"), frozenset(found.get("names", ()))
    return Seen(found["line"], found["id"], found["length"], found["coding"], body, names)


def _from_haproxy(line: str) -> Seen:
    request, name, length, coding, body = line.rsplit("|", 4)
    values = ["" if value == "-" else value for value in (name, length, coding, body)]
    return Seen(request, values[0], values[1], values[2], bytes.fromhex(values[3]))
