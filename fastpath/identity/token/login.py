"""The admin API as a relying party (OpenID Connect Core 1.0): code flow with PKCE, ID tokens, client credentials.

Owns what is sent to the provider and every check of what comes back. Does not own sessions, cookies or routes: the API
keeps a `Login` between the two halves (`pending.Logins`). Nothing in it is taken from a request's Host header: the
redirect URI is the configured one, letter by letter. Single event loop.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection
from urllib.parse import quote_plus, urlencode

import msgspec

from fastpath.identity.token.address import ForbiddenTarget, read_url
from fastpath.identity.token.discovery import Provider
from fastpath.identity.token.fetch import Answer, Ask, Fetch, FetchProblem
from fastpath.identity.token.id_token import Expected, check_id_token
from fastpath.identity.token.identity import Claims
from fastpath.identity.token.refusal import Reason, Refusal, Refused
from fastpath.identity.token.rotation import IssuerKeys
from fastpath.settings.secret import Secret


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What we are to the provider. secret None: a public client, which PKCE alone protects."""

    client_id: str
    redirect_uri: str
    secret: Secret | None = None
    scopes: tuple[str, ...] = ("openid",)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A login that has begun. url: where to send the browser. The rest is secret and never leaves the server.

    Except `binding`: it goes into a cookie (`__Host-`, HttpOnly, Secure, SameSite=Lax) and ties login and browser.
    """

    url: str
    state: str
    nonce: str
    code_verifier: str
    binding: str

    def __repr__(self) -> str:
        return "Login()"


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """The query of the redirect back. iss: RFC 9207, which tells providers apart that a browser could mix up."""

    state: str = ""
    code: str = ""
    error: str = ""
    iss: str = ""


class Grant(msgspec.Struct, frozen=True):
    """A token endpoint's answer (RFC 6749, 5.1). expires_in: s. Secret; `repr` shows nothing."""

    access_token: str
    token_type: str
    expires_in: float | None = None
    id_token: str = ""

    def __repr__(self) -> str:
        return "Grant()"


class RelyingParty:
    """Logs people in at one provider. keys: of that issuer, kept fresh by its owner. random: bytes -> URL-safe text."""

    def __init__(
        self,
        client: Client,
        provider: Provider,
        keys: IssuerKeys,
        fetch: Fetch,
        random: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        """Raises ValueError for a provider that cannot do PKCE with S256 or has no endpoints to send a browser to."""
        methods = provider.code_challenge_methods_supported
        if methods is not None and "S256" not in methods:
            raise ValueError("the provider does not offer PKCE with S256: choose one that does")
        if not provider.authorization_endpoint or not provider.token_endpoint:
            raise ValueError("the provider names no authorization and token endpoint: it cannot log people in")
        for url in (provider.authorization_endpoint, client.redirect_uri):
            _check_for_browser(url, keys.trusted.allow_hosts)
        self._client = client
        self._provider = provider
        self._keys = keys
        self._fetch = fetch
        self._random = random

    def begin(self) -> Login:
        """A new login, with its own state, nonce and PKCE verifier (256 bits each)."""
        state, nonce, code_verifier, binding = (self._random(32) for _ in range(4))
        challenge = _base64url(hashlib.sha256(code_verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "scope": " ".join(self._client.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = self._provider.authorization_endpoint
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return Login(url=url, state=state, nonce=nonce, code_verifier=code_verifier, binding=binding)

    async def finish(self, login: Login, callback: Callback, now: float) -> Claims | Refusal:
        """Who came back. now: Unix seconds. A Login is finished once. Raises FetchProblem when the provider fails."""
        try:
            self._check_callback(login, callback)
            grant = await self._exchange(login, callback.code)
            return await self._identify(login, grant, now)
        except Refused as refused:
            return Refusal(refused.reason, self._keys.trusted.name)

    async def client_credentials(self, scopes: tuple[str, ...] = ()) -> Grant | Refusal:
        """A token for ourselves (RFC 6749, 4.4). Raises FetchProblem; ValueError for a client without a secret."""
        if self._client.secret is None:
            raise ValueError("client credentials need a client secret")
        form = {"grant_type": "client_credentials"}
        if scopes:
            form["scope"] = " ".join(scopes)
        try:
            return await self._ask_token(form)
        except Refused as refused:
            return Refusal(refused.reason, self._keys.trusted.name)

    def _check_callback(self, login: Login, callback: Callback) -> None:
        if not hmac.compare_digest(login.state.encode(), callback.state.encode(errors="replace")):
            raise Refused(Reason.WRONG_STATE)
        if callback.iss and callback.iss != self._provider.issuer:
            raise Refused(Reason.UNKNOWN_ISSUER)
        if callback.error or not callback.code:
            raise Refused(Reason.PROVIDER_REFUSED)

    async def _exchange(self, login: Login, code: str) -> Grant:
        return await self._ask_token(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._client.redirect_uri,
                "code_verifier": login.code_verifier,
            }
        )

    async def _ask_token(self, form: dict[str, str]) -> Grant:
        secret, authorization = self._client.secret, None
        if secret is None:
            form = {**form, "client_id": self._client.client_id}
        else:
            authorization = _basic(self._client.client_id, secret)
        return _read_grant(await self._fetch(Ask(self._provider.token_endpoint, tuple(form.items()), authorization)))

    async def _identify(self, login: Login, grant: Grant, now: float) -> Claims:
        expected = Expected(self._client.client_id, login.nonce, grant.access_token)
        token = grant.id_token.encode()
        try:
            return check_id_token(token, self._keys.trusted, self._keys.keys, expected, now)
        except Refused as refused:
            if refused.reason not in (Reason.UNKNOWN_KEY, Reason.NO_KEYS):
                raise
            self._keys.want()
            if self._keys.due_in() > 0 or not await self._keys.refresh():
                raise
        return check_id_token(token, self._keys.trusted, self._keys.keys, expected, now)


def _read_grant(answer: Answer) -> Grant:
    if answer.status in (400, 401):  # RFC 6749, 5.2: the code, the client or the verifier is wrong
        raise Refused(Reason.PROVIDER_REFUSED)
    if answer.status != 200:
        raise FetchProblem(f"the token endpoint answered {answer.status}")
    try:
        grant = msgspec.json.decode(answer.body, type=Grant)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise FetchProblem("the token endpoint's answer is not what the standard says") from None
    if grant.token_type.lower() != "bearer":
        raise FetchProblem("the token endpoint gave out a token that is not a bearer's")
    return grant


def _check_for_browser(url: str, allowed: Collection[str]) -> None:
    """https, or a host that the operator named. A browser follows other schemes, too."""
    try:
        target = read_url(url)
    except ForbiddenTarget as problem:
        raise ValueError(f"a browser is not sent to that: {problem}") from None
    if target.scheme != "https" and target.host not in allowed:
        raise ValueError("the authorization endpoint and the redirect URI must begin with https://")


def _basic(client_id: str, secret: Secret) -> str:
    """RFC 6749, 2.3.1: both parts form-encoded before they are joined."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
