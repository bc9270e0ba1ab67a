"""Prefix cache of the pretended engine: which first blocks of a prompt were seen before.

Blocks of 16 tokens are named by a chained hash, as in vLLM: a block matches only behind the same blocks.
As there, the last token of a prompt is always computed. One loop, no waits.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

from backends.mock.tokens import TOKEN_BYTES

BLOCK_TOKENS = 16
BLOCK_BYTES = BLOCK_TOKENS * TOKEN_BYTES


class PrefixCache:
    """Least recently used blocks, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._blocks: OrderedDict[bytes, None] = OrderedDict()
        self.queries = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def admit(self, prompt: bytes) -> int:
        """Tokens of `prompt` that were cached; all its full blocks are cached afterwards."""
        names = list(_blocks(prompt))
        matched = self._match(names)
        for name in reversed(names):  # a block is useless without those before it: those must leave later
            self._blocks[name] = None
            self._blocks.move_to_end(name)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)
        cached = min(matched, max(0, len(prompt) - 1) // BLOCK_BYTES) * BLOCK_TOKENS
        self.queries += -(-len(prompt) // TOKEN_BYTES)
        self.hits += cached
        return cached

    def _match(self, names: list[bytes]) -> int:
        for count, name in enumerate(names):
            if name not in self._blocks:
                return count
        return len(names)


def _blocks(prompt: bytes) -> Iterator[bytes]:
    parent = b""
    for at in range(0, len(prompt) - BLOCK_BYTES + 1, BLOCK_BYTES):
        parent = hashlib.blake2b(parent + prompt[at : at + BLOCK_BYTES], digest_size=16).digest()
        yield parent
