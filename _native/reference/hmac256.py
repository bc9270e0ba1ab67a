"""The pure twin of `_native.hmac256`: the standard library's."""

import hmac

BLOCK = 64


class Keyed:
    """As the kernel's."""

    def __init__(self, secret: bytes, plain: bool = False) -> None:
        if len(secret) > BLOCK:
            raise ValueError(f"a key has at most {BLOCK} bytes")
        self._secret = secret

    def digest(self, message: bytes) -> bytes:
        return hmac.digest(self._secret, message, "sha256")

    def ids(self, head: bytes, first: bytes, second: bytes, size: int) -> bytearray:
        return bytearray(head + self.digest(head + first)[:size] + self.digest(head + second)[:size])
