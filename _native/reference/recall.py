"""The pure twin of `_native.recall`: a decoder that remembers nothing."""

from collections.abc import Callable
from typing import Any


class Recall:
    """As the kernel's."""

    def __init__(self, decode: Callable[[bytes], Any], kinds: tuple[type, type, type, type], most: int = 4096) -> None:
        self._decode = decode

    def read(self, data: bytes) -> Any:
        return self._decode(data)
