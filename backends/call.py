"""One attempt's request, as the pipeline hands it to a backend."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.base import BodyFeed

Header = tuple[bytes, bytes]


class Call:
    """Path below the endpoint's base URL, headers beyond the endpoint's own, the body.

    body: all of it, or None when `feed` streams it (`length` then says how long it is, None for chunked). repeatable:
    it may be sent again when a kept connection dies before the first byte of an answer, which leaves open whether the
    first was read.
    """

    def __init__(
        self,
        method: str,
        path: str,
        headers: list[Header],
        body: bytes | None,
        feed: "BodyFeed | None" = None,
        length: int | None = None,
        repeatable: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.feed = feed
        self.length = length
        self.repeatable = repeatable
