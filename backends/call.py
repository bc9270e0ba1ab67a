"""One attempt's request, as the pipeline hands it to a backend."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.base import BodyFeed


class Call:
    """Path below the endpoint's base URL, header fields beyond the endpoint's own, the body.

    fields: as on the wire, each with its line end, b"" for none.

    body: all of it, or None when `feed` streams it (`length` then says how long it is, None for chunked). repeatable:
    it may be sent again when a kept connection dies before the first byte of an answer, which leaves open whether the
    first was read.
    """

    def __init__(
        self,
        method: str,
        path: str,
        fields: bytes,
        body: bytes | None,
        feed: "BodyFeed | None" = None,
        length: int | None = None,
        repeatable: bool = True,
    ) -> None:
        self.prepare(method, path, fields, body, feed, length, repeatable)

    def prepare(
        self,
        method: str,
        path: str,
        fields: bytes,
        body: bytes | None,
        feed: "BodyFeed | None",
        length: int | None,
        repeatable: bool,
    ) -> None:
        """What `__init__` does: called from C it needs no objects for its arguments."""
        self.method = method
        self.path = path
        self.fields = fields
        self.body = body
        self.feed = feed
        self.length = length
        self.repeatable = repeatable
