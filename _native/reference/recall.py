"""The pure twin of `_native.recall`: a decoder that remembers nothing."""

from collections.abc import Callable
from typing import Any


class Recall:
    """As the kernel's."""

    def __init__(self, decode: Callable[[bytes], Any], kinds: tuple[type, type, type, type], most: int = 4096) -> None:
        self._decode = decode

    def read(self, data: bytes) -> Any:
        return self._decode(data)

    def read_all(
        self, found: list[tuple[int, bytes, int]], apart: type
    ) -> tuple[list[Any], list[bytes], list[tuple[bytes, Any]]]:
        facts, payloads, others = [], [], []
        for _, payload, _ in found:
            try:
                message = self._decode(payload)
            except (ValueError, RecursionError):
                message = None
            if message is None or type(message) is apart:
                others.append((payload, message))
            else:
                facts.append(message)
                payloads.append(payload)
        return facts, payloads, others
