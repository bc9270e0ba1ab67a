"""A prompt's fingerprint: tells whether two prompts of one tenant were the same, and nothing else to anybody else.

HMAC-SHA-256 of the prompt as it is spelt in the body, under a key of the tenant that is derived from the pepper of the
installation: nobody without the state folder can try prompts, and the same prompt of two tenants looks unrelated.
Of a prompt longer than `WHOLE` bytes its length and both ends are hashed: 8 MiB would hold a loop for 5 ms. Owns the
derivation. One loop.
"""

import hmac
from typing import Final

SIZE: Final = 32
#: Bytes of a prompt that are hashed whole: about 0.1 ms.
WHOLE: Final = 256 * 1024
#: Tenants whose keys are remembered; then the memory starts anew.
_MOST: Final = 4096
_PURPOSE: Final = b"fastpath prompt fingerprint 1\0"
#: The fields that a prompt may stand in, by the first that a body has.
BULK: Final = ("messages", "prompt", "input")


class Fingerprints:
    """Makes fingerprints under the keys of tenants. pepper: 32 bytes."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._keys: dict[str, bytes] = {}

    def take(self, tenant: str, prompt: bytes) -> bytes:
        """The fingerprint of a prompt of this tenant; of the prompt of a caller without one, its key's name."""
        if len(prompt) > WHOLE:
            half = WHOLE // 2
            prompt = b"%d\0%b%b" % (len(prompt), prompt[:half], prompt[-half:])
        return hmac.digest(self._keys.get(tenant) or self._derive(tenant), prompt, "sha256")

    def _derive(self, tenant: str) -> bytes:
        if len(self._keys) >= _MOST:
            self._keys.clear()
        key = self._keys[tenant] = hmac.digest(self._pepper, _PURPOSE + tenant.encode(), "sha256")
        return key
