"""Whether an issuer's key signed a token: the algorithm, then the key, then the signature. Pure over a key set."""

from fastpath.identity.token.compact import Compact
from fastpath.identity.token.jwk import KeySet, PublicKey
from fastpath.identity.token.refusal import Reason, Refused
from fastpath.identity.token.trust import TrustedIssuer


def check_algorithm(algorithm: str, trusted: TrustedIssuer) -> None:
    """Raises Refused unless the issuer's settings allow it. The token's word decides nothing."""
    if algorithm in trusted.algorithms:
        return
    if algorithm.lower() == "none":
        raise Refused(Reason.ALGORITHM_NONE)
    raise Refused(Reason.ALGORITHM_SYMMETRIC if algorithm.startswith("HS") else Reason.ALGORITHM_REFUSED)


def prove(compact: Compact, keys: KeySet) -> PublicKey:
    """The key that signed it. The algorithm must have passed `check_algorithm`. Raises Refused."""
    if not len(keys):
        raise Refused(Reason.NO_KEYS)
    key = keys.find(compact.kid, compact.algorithm)
    if key is None:
        raise Refused(Reason.UNKNOWN_KEY)
    if compact.algorithm not in key.algorithms:
        raise Refused(Reason.WRONG_KEY)
    if not key.proves(compact.algorithm, compact.signed, compact.signature):
        raise Refused(Reason.BAD_SIGNATURE)
    return key
