"""A small real identity provider: discovery, keys, code + PKCE, client credentials; and every way to be a bad one.

Strict where a good provider is strict, so that a client which forgets something is refused. One event loop.
"""

import asyncio
import base64
import hashlib
import secrets
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import h11
import msgspec

from tests.idp.signer import SigningKey

CLIENT_ID = "fastpath admin"  # with a space, because it is form-encoded before it goes into the header
CLIENT_SECRET = "s3cret:%/+"
REDIRECT_URI = "https://gateway.test/admin/callback"

Headers = list[tuple[str, str]]
Reply = tuple[int, Headers, bytes]


@dataclass
class Moods:
    """How it misbehaves. paths: where (all, when empty)."""

    paths: tuple[str, ...] = ()
    silent: bool = False  # takes the request and says nothing
    redirect: str = ""
    status: int = 0
    body: bytes | None = None
    huge: int = 0  # bytes of body, without a Content-Length
    raw: bytes | None = None  # instead of HTTP
    headers: Headers = field(default_factory=list)
    issuer: str = ""  # what the discovery document and tokens say instead
    id_claims: dict[str, Any] = field(default_factory=dict)  # over those of the ID token; None leaves one out


@dataclass
class _Code:
    challenge: str
    nonce: str
    redirect_uri: str


class IdentityProvider:
    """Use as an async context manager; `issuer` is its URL. now: Unix seconds, for the tokens it makes."""

    def __init__(self, now: Callable[[], float], algorithm: str = "ES256", tls: ssl.SSLContext | None = None) -> None:
        self.moods = Moods()
        self.asked: Counter[str] = Counter()
        self.issuer = ""
        self.key = SigningKey("key-1", algorithm)
        self.published = [self.key.jwk()]
        self.now = now
        self._tls = tls
        self._codes: dict[str, _Code] = {}
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.issuer = f"https://localhost:{port}" if self._tls else f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """As if it had crashed."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def rotate(self, overlap: bool = True) -> SigningKey:
        """A new key signs from now on; with overlap the old one stays published. Returns the old one."""
        old = self.key
        self.key = SigningKey(f"key-{int(old.kid.rpartition('-')[2]) + 1}", old.algorithm)
        self.published = [self.key.jwk(), *([old.jwk()] if overlap else [])]
        return old

    def access_token(self, **claims: object) -> bytes:
        """A token for the gateway's API; a claim of None is left out."""
        now = self.now()
        made = {
            "iss": self.moods.issuer or self.issuer,
            "aud": "https://gateway.test",
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
            "scope": "chat",
            **claims,
        }
        return self.key.token({name: value for name, value in made.items() if value is not None}, typ="at+jwt")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._one(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError):
            return  # the client left
        finally:
            self._serving.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        request, body = await _read_request(connection, reader)
        url = urlsplit(request.target.decode())
        self.asked[url.path] += 1
        if not self.moods.paths or url.path in self.moods.paths:
            if self.moods.silent:
                await reader.read()  # until the client gives up
                return
            if self.moods.raw is not None:
                writer.write(self.moods.raw)
                await writer.drain()
                return
            reply = self._misbehave() or self._answer(request, url.path, url.query, body)
        else:
            reply = self._answer(request, url.path, url.query, body)
        await _write(connection, writer, reply)

    def _misbehave(self) -> Reply | None:
        moods = self.moods
        if moods.redirect:
            return 302, [("location", moods.redirect)], b""
        if moods.huge:
            return 200, [*moods.headers, ("transfer-encoding", "chunked")], b" " * moods.huge
        if moods.status or moods.body is not None or moods.headers:
            return moods.status or 200, moods.headers, b"{}" if moods.body is None else moods.body
        return None

    def _answer(self, request: h11.Request, path: str, query: str, body: bytes) -> Reply:
        method = request.method.decode()
        if (method, path) == ("GET", "/.well-known/openid-configuration"):
            return _json(200, self._discovery())
        if (method, path) == ("GET", "/jwks"):
            return _json(200, {"keys": self.published})
        if (method, path) == ("GET", "/authorize"):
            return self._authorize(dict(parse_qsl(query)))
        if (method, path) == ("POST", "/token"):
            return self._token(dict(request.headers).get(b"authorization", b""), dict(parse_qsl(body.decode())))
        return 404, [], b""

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.moods.issuer or self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
        }

    def _authorize(self, query: dict[str, str]) -> Reply:
        if query.get("client_id") != CLIENT_ID or query.get("redirect_uri") != REDIRECT_URI:
            return 400, [], b"unknown client or redirect URI"
        answer = {"state": query.get("state", ""), "iss": self.issuer}
        wanted = {"response_type": "code", "code_challenge_method": "S256"}
        if not wanted.items() <= query.items() or "openid" not in query.get("scope", "").split():
            answer["error"] = "invalid_request"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self._codes[answer["code"]] = _Code(query["code_challenge"], query.get("nonce", ""), query["redirect_uri"])
        return 302, [("location", f"{REDIRECT_URI}?{urlencode(answer)}")], b""

    def _token(self, authorization: bytes, form: dict[str, str]) -> Reply:
        if not _is_client(authorization):
            return _json(401, {"error": "invalid_client"})
        if form.get("grant_type") == "client_credentials":
            access = self.access_token(sub="service-1", scope=form.get("scope", "")).decode()
            return _json(200, {"access_token": access, "token_type": "Bearer", "expires_in": 300})
        code = self._codes.pop(form.get("code", ""), None)
        challenge = _challenge(form.get("code_verifier", ""))
        if code is None or form.get("redirect_uri") != code.redirect_uri or challenge != code.challenge:
            return _json(400, {"error": "invalid_grant"})
        access = self.access_token().decode()
        id_token = self.id_token(code.nonce, access)
        return _json(200, {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id_token})

    def id_token(self, nonce: str, access: str) -> str:
        now = self.now()
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims = {
            "iss": self.moods.issuer or self.issuer,
            "aud": CLIENT_ID,
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **self.moods.id_claims,
        }
        return self.key.token({name: value for name, value in claims.items() if value is not None}).decode()


def _json(status: int, value: object) -> Reply:
    return status, [("content-type", "application/json"), ("cache-control", "no-store")], msgspec.json.encode(value)


def _is_client(authorization: bytes) -> bool:
    scheme, _, pair = authorization.decode().partition(" ")
    if scheme != "Basic":
        return False
    name, _, secret = base64.b64decode(pair).decode().partition(":")
    return (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


async def _read_request(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            return request, body
        else:
            raise ConnectionResetError


async def _write(connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply) -> None:
    status, headers, body = reply
    if not any(name in ("transfer-encoding", "content-length") for name, _ in headers):
        headers = [*headers, ("content-length", str(len(body)))]
    response = h11.Response(status_code=status, headers=[*headers, ("connection", "close")])
    for event in (response, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
