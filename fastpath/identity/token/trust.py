"""Which issuers are believed, and for what: the check of what an issuer's settings say together.

Does not own the settings themselves (`fastpath.settings.issuers`); does not fetch and does not verify. Pure.
"""

from collections.abc import Iterator

from fastpath.identity.token.address import ForbiddenTarget, read_url
from fastpath.identity.token.algorithms import KINDS
from fastpath.settings.issuers import MOST_LEEWAY, ClaimNames, TrustedIssuer

__all__ = ["MOST_LEEWAY", "ClaimNames", "TrustedIssuer", "find_problems", "problems"]


def problems(trusted: TrustedIssuer) -> list[str]:
    """What is wrong with it, one sentence each that says what to write instead; empty when nothing is."""
    return [f"{field} {sentence}" for field, sentence in find_problems(trusted)]


def find_problems(trusted: TrustedIssuer) -> Iterator[tuple[str, str]]:
    """The same as pairs of a field and what is wrong with it."""
    if not trusted.name or not trusted.issuer:
        field = "issuer" if trusted.name else "name"
        yield field, "is missing: it needs a name of yours and its own `issuer`, exactly as its tokens have it in `iss`"
    if not trusted.audience or not all(trusted.audience):
        yield "audience", "must name whom tokens are for: without it tokens made for other services are accepted"
    if not trusted.algorithms or set(trusted.algorithms) - KINDS.keys():
        yield (
            "algorithms",
            f"must be some of {', '.join(KINDS)}; shared secrets (HS*) and none are never accepted",
        )
    if not 0 <= trusted.leeway <= MOST_LEEWAY:
        yield "leeway", f"must be between 0 and {MOST_LEEWAY:.0f} seconds: set the clocks right instead"
    if bool(trusted.claims.tenant) != bool(trusted.tenants):
        field = "claims" if trusted.claims.tenant else "tenants"
        yield field, "and its counterpart belong together: claims.tenant names a tenant, tenants says which it may"
    yield from _url_problems(trusted)


def _url_problems(trusted: TrustedIssuer) -> Iterator[tuple[str, str]]:
    field, url = ("jwks_uri", trusted.jwks_uri) if trusted.jwks_uri else ("issuer", trusted.issuer)
    try:
        target = read_url(url)
    except ForbiddenTarget as problem:
        yield field, f"cannot be asked for keys: {problem}"
        return
    if target.scheme != "https" and target.host not in trusted.allow_hosts:
        yield field, "must begin with https://; http:// is for a provider on loopback that allow_hosts names"
