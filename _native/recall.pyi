"""Reads facts of the outbox (MessagePack, `fastpath.outbox.facts`), and gives what repeats in them as one object.

Who pays, by which price, for which model and at which endpoint is the same in most facts of a batch, byte for byte.
What follows from the same bytes is remembered, and the parts of it that are equal are one object: to read both facts
of 10,000 requests took 1.9 us a request with the decoder alone and takes 1.4 so, and whoever judges a price or a payer
may do it once for each object. Anything that is not written the usual way goes to `decode`, and so does the first of
everything: it alone says what is valid. One thread at a time.
"""

from collections.abc import Callable
from typing import Any, final

@final
class Recall:
    """kinds: Intent, End, Attempt and Billable. most: different ones that are remembered of each, 1 kB or so each."""

    def __init__(
        self, decode: Callable[[bytes], Any], kinds: tuple[type, type, type, type], most: int = 4096
    ) -> None: ...
    def read(self, data: bytes) -> Any:
        """What `decode` says of it, equal in every field. Raises what `decode` raises."""

    def read_all(
        self, found: list[tuple[int, bytes, int]], apart: type
    ) -> tuple[list[Any], list[bytes], list[tuple[bytes, Any]]]:
        """Records as a segment gives them (number, payload, offset behind), in their order.

        What was read and is not of the type `apart`; the payloads of these; and the others, each payload with what it
        is, or None where `decode` raised ValueError or RecursionError.
        """
