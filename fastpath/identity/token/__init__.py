"""Callers and administrators who come with a token of an identity provider: JSON Web Tokens and OpenID Connect.

    verifier     the hot path: `TokenVerifier.authenticate(authorization, now)`, synchronous, cached
    compact      bytes -> header and claims, strictly; nothing is believed yet
    proof        algorithm, key, signature
    validity     audience and times
    identity     claims -> tenant, team, user, scopes
    trust        whether an issuer's settings can be safe
    jwk          an issuer's key set, each key with the algorithms that it may check (`algorithms`, `roca`)
    issuers      all issuers of a process: a task for each, and the verifier that believes them
    rotation     when keys are fetched, in the background, and how long old ones are used
    discovery    where a provider's endpoints are
    fetch        the only place that opens a connection
    address      which URLs and addresses it may open
    login        the admin API as a relying party: code + PKCE, client credentials (`id_token`, `pending`)
    steady       a wall clock that a sudden step does not carry away

Loaded only where issuers are configured: PyJWT and cryptography cost a process 13 MB. Imports nothing of a
worker, so the control plane can use it too.
"""
