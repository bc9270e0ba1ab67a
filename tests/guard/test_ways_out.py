"""The static wall: nothing under fastpath/ and backends/ opens a connection or starts a backend but in the places named
here, and whatever carries data of a request asks the egress gate first, in the same function.

Whoever adds a way out names it here, with what it carries, and asks the gate."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import HOME, python_files

OPENERS = {
    "socket", "create_connection", "open_connection", "open_unix_connection", "create_unix_connection", "sock_connect",
    "connect_ex", "create_datagram_endpoint", "sock_sendto", "sendto", "from_url", "DNSResolver", "HTTPConnection",
    "HTTPSConnection", "urlopen", "insecure_channel", "secure_channel", "ClientSession", "AsyncClient", "Client",
    "start_tls", "SMTP", "Redis",
}  # fmt: skip
CLIENTS = {
    "http.client", "urllib.request", "httpx", "aiohttp", "requests", "urllib3", "smtplib", "ftplib", "telnetlib",
    "xmlrpc.client", "websockets", "websocket", "grpc", "redis", "aiodns", "pycurl", "asyncpg", "paramiko",
}  # fmt: skip

#: Where data of requests, or anything at all, leaves for a place that an address names: each asks the gate itself.
GATED = {
    "fastpath/relay/delivery.py:Delivery._dispatch": "each attempt of a request",
    "backends/watch/fetch.py:_open": "probes and polls of endpoints",
    "fastpath/identity/token/fetch.py:GuardedFetch._ask": "key sets of identity providers, notices about budgets",
}
#: What these reach is reached through a function of GATED alone.
BEHIND = {
    "backends/http/connector.py:Connector._open_socket": "a backend's connections",
    "backends/http/connector.py:Connector._establish": "a backend's connections",
    "backends/http/resolver.py:AresQuery.__init__": "names of endpoints and issuers, which no caller writes",
    "fastpath/identity/token/fetch.py:GuardedFetch._open": "fetch's connections",
    "backends/watch/fetch.py:Fetcher.get": "what _open made",
}
#: What carries nothing of any request, or stays on this machine.
INNER = {
    "fastpath/publication/redis.py:": "what the control plane publishes",
    "fastpath/publication/nudge.py:": "Unix datagrams between processes of one node",
    "fastpath/shares/redis.py:": "numbers of shared limits",
    "fastpath/door/proxy_protocol.py:": "the door's own inner listener",
    "fastpath/process/": "listeners, and sockets between processes of one node",
    "fastpath/observe/access_log.py:": "the supervisor's end of a pipe",
    "fastpath/demo.py:": "a client of the gateway",
    "fastpath/explain/source.py:": "`fastpath explain`, a client of the admin API",
    "fastpath/bench/": "`fastpath bench`, a client with prompts of its own",
}

Use = tuple[str, int, str]


def where(path: Path, home: Path = HOME) -> str:
    return str(path.relative_to(home))


def uses(tree: ast.Module) -> Iterator[Use]:
    """(qualified function, line, what) of all that opens a connection or starts a backend."""
    yield from _walk(tree, "")


def _walk(node: ast.AST, inside: str) -> Iterator[Use]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _walk(child, f"{inside}.{child.name}".removeprefix("."))
            continue
        what = _opens(child)
        if what is not None:
            yield inside, child.lineno, what  # type: ignore[attr-defined]  # calls and imports have lines
        yield from _walk(child, inside)


def _opens(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import):
        return next((alias.name for alias in node.names if _is_client(alias.name)), None)
    if isinstance(node, ast.ImportFrom):
        return node.module if node.module and _is_client(node.module) else None
    if not isinstance(node, ast.Call):
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in OPENERS:
        return name
    if name == "start" and isinstance(node.func, ast.Attribute) and "backend" in ast.unparse(node.func.value):
        return "backend.start"
    return None


def _is_client(module: str) -> bool:
    return any(module == client or module.startswith(client + ".") for client in CLIENTS)


def asks_first(tree: ast.Module, function: str) -> bool:
    """Whether a function calls `egress`, outside of any `if`, before it opens, calls or starts anything outside."""
    node: ast.AST = tree
    for name in function.split("."):
        node = next(child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name)
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    first = body[0]
    statements = first.body if isinstance(first, ast.Try) else [first]
    call = statements[0].value if isinstance(statements[0], ast.Expr) else None
    refuses = not isinstance(first, ast.Try) or all(
        isinstance(handler.body[-1], ast.Return | ast.Raise) for handler in first.handlers
    )
    return isinstance(call, ast.Call) and getattr(call.func, "id", "") == "egress" and refuses


def unlisted(path: Path, tree: ast.Module, home: Path = HOME) -> list[str]:
    """Uses in a module that no list names. Imports of a client are judged by their file."""
    file = where(path, home)
    named = [*GATED, *BEHIND, *INNER]
    return [
        f"{file}:{line}: {what} in {function or 'the module'}"
        for function, line, what in uses(tree)
        if not any(f"{file}:{function}".startswith(name) for name in named)
        and not (not function and any(name.startswith(f"{file}:") for name in named))
    ]


MODULES = python_files(("fastpath", "backends"))


def test_there_is_no_other_way_out() -> None:
    found = [line for path in MODULES for line in unlisted(path, ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize("place", GATED)
def test_whatever_sends_asks_the_gate_first(place: str) -> None:
    file, _, function = place.partition(":")
    assert asks_first(ast.parse((HOME / file).read_text()), function), place


def test_what_is_listed_is_there() -> None:
    there = {f"{where(path)}:{function}" for path in MODULES for function, _, _ in uses(ast.parse(path.read_text()))}
    for place in (*BEHIND, *INNER):
        assert any(found.startswith(place) for found in there), f"{place} opens nothing any more: take it off the list"


def test_no_kernel_connects() -> None:
    for path in sorted((HOME / "_native").glob("*.pyx")):
        assert not re.search(r"\bconnect\s*\(|create_connection|\bsendto\s*\(", path.read_text()), path.name


@pytest.mark.parametrize(
    "code",
    [
        "import httpx",
        "from urllib.request import urlopen",
        "def probe(backend, call, sink):\n    backend.start(call, sink)",
        "async def ask(host):\n    return await asyncio.open_connection(host, 80)",
        "class A:\n    def go(self):\n        return socket.create_connection(('h', 1))",
    ],
)
def test_a_new_way_out_is_seen(tmp_path: Path, code: str) -> None:
    path = tmp_path / "fastpath" / "new.py"
    assert unlisted(path, ast.parse(code), tmp_path)


@pytest.mark.parametrize(
    ("code", "good"),
    [
        ("def f(a):\n    egress(a, b)\n    backend.start(a)", True),
        ("def f(a):\n    backend.start(a)\n    egress(a, b)", False),
        ("def f(a):\n    if a:\n        egress(a, b)\n    backend.start(a)", False),
        ("def f(a):\n    try:\n        egress(a, b)\n    except E:\n        return\n    backend.start(a)", True),
        ("def f(a):\n    try:\n        egress(a, b)\n    except E:\n        pass\n    backend.start(a)", False),
    ],
)
def test_a_gate_that_is_passed_by_is_seen(code: str, good: bool) -> None:
    assert asks_first(ast.parse(code), "f") == good
