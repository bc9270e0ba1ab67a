"""Where a provider's endpoints are: its discovery document (OpenID Connect Discovery 1.0).

Owns the document's place and what must be right about it. Does not open connections. Single event loop.
"""

import msgspec

from fastpath.identity.token.fetch import Ask, Fetch, FetchProblem


class Provider(msgspec.Struct, frozen=True):
    """What we use of a discovery document. Every URL is still to be judged by `fetch` when it is asked."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    code_challenge_methods_supported: tuple[str, ...] | None = None


def discovery_url(issuer: str) -> str:
    """Section 4.1: below the issuer's path."""
    return f"{issuer.removesuffix('/')}/.well-known/openid-configuration"


async def discover(issuer: str, fetch: Fetch) -> Provider:
    """Asks the issuer. Raises FetchProblem, also for a document of another issuer (section 4.3)."""
    document = await read_answer(discovery_url(issuer), fetch)
    try:
        provider = msgspec.json.decode(document, type=Provider)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise FetchProblem("the discovery document is not what the standard says") from None
    if provider.issuer != issuer:
        raise FetchProblem("the discovery document is another issuer's: set `issuer` exactly as the provider has it")
    return provider


async def read_answer(url: str, fetch: Fetch) -> bytes:
    """The body of a 200. Raises FetchProblem for anything else: a redirect is not followed."""
    answer = await fetch(Ask(url))
    if answer.status != 200:
        raise FetchProblem(f"the provider answered {answer.status}")
    return answer.body
