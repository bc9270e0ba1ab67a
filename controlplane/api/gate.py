"""What every request passes before a route is looked for: whose page sent it, and what browsers are told.

Owns the check of Host, Origin and content type, and the security headers. Does not authenticate (`rules`). Host: a web
page that rebinds its own name to this address sends that name. Origin: a page of another site says where it comes from.
Plain ASGI, so that an error of the framework passes it, too.
"""

import ipaddress
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from controlplane.api.errors import render
from controlplane.problem import Problem, forbidden

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]
App = Callable[[Any, Any, Any], Any]

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"server", b"fastpath"),  # or Granian names itself
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_OURS: Final = frozenset(name for name, _ in SECURITY_HEADERS)


class Gate:
    """Wraps an ASGI application. hosts: names under which it may be called, besides loopback and addresses."""

    def __init__(self, app: App, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _OURS]
                message = {**message, "headers": [*kept, *SECURITY_HEADERS]}
            await send(message)

        problem = self._refuse(scope)
        if problem is None:
            await self._app(scope, receive, send_guarded)
            return
        status, headers, body = render(problem)
        await send_guarded({"type": "http.response.start", "status": status, "headers": headers})
        await send_guarded({"type": "http.response.body", "body": body})

    def _refuse(self, scope: Scope) -> Problem | None:
        sent = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in sent if name == b"host"]
        if len(hosts) != 1 or not self._trusts(host_name(hosts[0])):
            return forbidden("The Host header does not name this admin API: see `allowed_hosts`.", "host_not_allowed")
        for name, value in sent:
            if name == b"origin" and not _same_site(value.decode("latin-1"), hosts[0], scope["scheme"]):
                return forbidden("A page of another origin may not use the admin API.", "origin_not_allowed")
            if name == b"sec-fetch-site" and value not in (b"same-origin", b"none"):
                return forbidden("A page of another site may not use the admin API.", "origin_not_allowed")
        return _refuse_body(scope["method"], dict(sent))

    def _trusts(self, name: str) -> bool:
        """An address cannot be rebound; a name must be one that was configured."""
        return name in self._hosts or _is_address(name)


def _refuse_body(method: str, headers: dict[bytes, bytes]) -> Problem | None:
    """A body is JSON and says so: what a plain HTML form can send is none."""
    kind = headers.get(b"content-type")
    if method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        return None
    if kind is None and headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return None
    if kind is not None and kind.partition(b";")[0].strip().lower() == b"application/json":
        return None
    return Problem(415, "unsupported_media_type", "Send JSON, with `content-type: application/json`.")


def host_name(header: str) -> str:
    """The name or address in a Host header, lower case, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].rstrip(".").lower()


def _same_site(origin: str, host: str, scheme: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme == scheme and parts.netloc.lower() == host.lower() and parts.path in ("", "/")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
