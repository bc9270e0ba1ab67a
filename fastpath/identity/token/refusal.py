"""Why a token was refused: for the log a reason, for the caller always the same sentence.

Pure data; `Refused` travels inside this package only and never leaves `TokenVerifier` or `login`.
"""

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """What was wrong, in words that hold nothing of the token.

    Cheap checks come before the signature's, so that a flood of nonsense costs little: up to `bad_signature` a reason
    tells only what the token says of itself. Those after `revoked` are of logins.
    """

    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    DUPLICATE_MEMBER = "duplicate_member"
    ENCRYPTED = "encrypted"
    NESTED = "nested"
    CRITICAL = "critical_header"
    UNENCODED_PAYLOAD = "unencoded_payload"
    KEY_IN_HEADER = "key_in_header"
    WRONG_TYPE = "wrong_type"
    ALGORITHM_NONE = "algorithm_none"
    ALGORITHM_SYMMETRIC = "algorithm_symmetric"
    ALGORITHM_REFUSED = "algorithm_refused"
    UNKNOWN_ISSUER = "unknown_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    MISSING_CLAIM = "missing_claim"
    MALFORMED_CLAIM = "malformed_claim"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    SENDER_CONSTRAINED = "sender_constrained"
    NO_KEYS = "no_keys"
    UNKNOWN_KEY = "unknown_key"
    WRONG_KEY = "wrong_key"
    BAD_SIGNATURE = "bad_signature"
    FOREIGN_TENANT = "foreign_tenant"
    REVOKED = "revoked"
    WRONG_NONCE = "wrong_nonce"
    MIXED_TOKENS = "mixed_tokens"
    WRONG_STATE = "wrong_state"
    PROVIDER_REFUSED = "provider_refused"


REFUSED = "The token is not valid here. Get a new one from your identity provider, or ask the operator of this gateway."


class Refusal(msgspec.Struct, frozen=True):
    """A token that is not believed. reason and issuer are for the log; `message` is all that a caller may read."""

    reason: Reason
    issuer: str = ""  # the configured name of the issuer that the token claims to be from, "" when there is none

    @property
    def message(self) -> str:
        return REFUSED


class Refused(Exception):
    """Ends a check. Holds nothing of the token."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
