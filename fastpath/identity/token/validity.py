"""For whom a token is, and when (RFC 7519, section 4.1).

Owns audience and times with their leeway; both ends of the allowance for clocks that disagree. Pure.
"""

import math
from collections.abc import Collection
from typing import Any

import msgspec

from fastpath.identity.token.refusal import Reason, Refused

#: The end of the year 9999. Beyond it stand milliseconds that were meant as seconds, and tokens without an end.
_LATEST = 253402300799


class Window(msgspec.Struct, frozen=True, gc=False):
    """When a token may be used. Unix seconds as the token has them; leeway in seconds."""

    expires: float
    not_before: float | None
    issued: float | None
    leeway: float

    @property
    def end(self) -> float:
        """From when on it is refused, Unix seconds."""
        return self.expires + self.leeway

    def check(self, now: float) -> None:
        """Raises Refused outside of it. now: Unix seconds."""
        if now >= self.end:
            raise Refused(Reason.EXPIRED)
        if self.not_before is not None and now < self.not_before - self.leeway:
            raise Refused(Reason.NOT_YET_VALID)
        if self.issued is not None and now < self.issued - self.leeway:
            raise Refused(Reason.ISSUED_IN_FUTURE)


def read_window(claims: dict[str, Any], leeway: float) -> Window:
    """`exp`, which must be there, `nbf` and `iat`. Raises Refused."""
    expires = _time(claims, "exp")
    if expires is None:
        raise Refused(Reason.MISSING_CLAIM)
    return Window(expires, _time(claims, "nbf"), _time(claims, "iat"), leeway)


def read_audience(claims: dict[str, Any]) -> list[str]:
    """`aud`: one text or a list of texts. Raises Refused when it is missing or something else."""
    found = claims.get("aud")
    if found is None:
        raise Refused(Reason.MISSING_CLAIM)
    audience = [found] if isinstance(found, str) else found
    if not isinstance(audience, list) or not all(isinstance(name, str) for name in audience):
        raise Refused(Reason.MALFORMED_CLAIM)
    return audience


def check_audience(claims: dict[str, Any], ours: Collection[str]) -> None:
    """Raises Refused unless the token is meant for one of `ours`."""
    if not any(name in ours for name in read_audience(claims)):
        raise Refused(Reason.WRONG_AUDIENCE)


def _time(claims: dict[str, Any], name: str) -> float | None:
    found = claims.get(name)
    if found is None:
        if name in claims:
            raise Refused(Reason.MALFORMED_CLAIM)
        return None
    if type(found) not in (int, float) or not math.isfinite(found) or not 0 <= found <= _LATEST:
        raise Refused(Reason.MALFORMED_CLAIM)
    return float(found)
