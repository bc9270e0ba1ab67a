"""Which issuers are believed, and for what: the settings of this package as plain data.

Owns the Structs and the check of what they say together. Does not fetch and does not verify. Frozen: any thread.
"""

import msgspec

from fastpath.identity.token.address import ForbiddenTarget, read_url
from fastpath.identity.token.algorithms import KINDS

#: No more disagreement between clocks is forgiven, s (RFC 7519: "usually no more than a few minutes").
MOST_LEEWAY = 60.0


class ClaimNames(msgspec.Struct, frozen=True, kw_only=True):
    """The claims that say who. A top-level one's name, or a JSON Pointer (RFC 6901), which begins with `/`. "": none.

    scopes: a text with spaces between (RFC 8693) or an array of texts, such as `scope`, `scp`, `/realm_access/roles`.
    """

    tenant: str = ""
    team: str = ""
    user: str = "sub"
    scopes: str = "scope"


class TrustedIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """One issuer of tokens.

    name: ours, for logs. issuer: compared with `iss` letter by letter. audience: a token must be for one of these.
    jwks_uri: where the keys are; "": as the issuer's discovery document says. algorithms: all others are refused.
    tenant: whose callers these are, when a claim does not say. tenants: which tenants a claim may name ("*": any);
    without it an issuer of one tenant could let its users in as another's. leeway: s, for clocks that disagree.
    allow_hosts: hosts that may have private or loopback addresses, for a provider inside one's own network.
    """

    name: str
    issuer: str
    audience: tuple[str, ...]
    jwks_uri: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    claims: ClaimNames = ClaimNames()
    tenant: str = ""
    tenants: tuple[str, ...] = ()
    leeway: float = MOST_LEEWAY
    allow_hosts: tuple[str, ...] = ()


def problems(trusted: TrustedIssuer) -> list[str]:
    """What is wrong with it, one sentence each that says what to write instead; empty when nothing is."""
    found = []
    if not trusted.name or not trusted.issuer:
        found.append("an issuer needs a name of yours and its own `issuer`, exactly as its tokens have it in `iss`")
    if not trusted.audience or not all(trusted.audience):
        found.append("audience must name whom tokens are for: without it tokens made for other services are accepted")
    unknown = sorted(set(trusted.algorithms) - KINDS.keys())
    if unknown or not trusted.algorithms:
        found.append(f"algorithms must be some of {', '.join(KINDS)}; shared secrets (HS*) and none are never accepted")
    if not 0 <= trusted.leeway <= MOST_LEEWAY:
        found.append(f"leeway must be between 0 and {MOST_LEEWAY:.0f} seconds: set the clocks right instead")
    if bool(trusted.claims.tenant) != bool(trusted.tenants):
        found.append("claims.tenant and tenants belong together: the claim names a tenant, the list says which it may")
    return [*found, *_url_problems(trusted)]


def _url_problems(trusted: TrustedIssuer) -> list[str]:
    field, url = ("jwks_uri", trusted.jwks_uri) if trusted.jwks_uri else ("issuer", trusted.issuer)
    try:
        target = read_url(url)
    except ForbiddenTarget as problem:
        return [f"{field}: {problem}"]
    if target.scheme != "https" and target.host not in trusted.allow_hosts:
        return [f"{field} must begin with https://; http:// is for a provider on loopback that allow_hosts names"]
    return []
