"""Strict RFC 8259 scanner with UTF-8 validation (see jsonscan.pxd). All positions and spans are byte offsets.

Refused beyond the grammar: ill-formed UTF-8 inside strings (overlong, surrogates, above U+10FFFF), a byte order mark,
and more than 128 containers inside one another. Accepted as the grammar says: escapes of lone surrogates and numbers
of any size. An error's position is the first byte that no valid text could have there; the first byte of an ill-formed
UTF-8 sequence; the length when the text ends too early.
"""

from collections.abc import Sequence
from typing import Final

from typing_extensions import Buffer

FRAME_USAGE: Final[int]
FRAME_ERROR: Final[int]
FRAME_NO_CHOICES: Final[int]
FRAME_FINISHED: Final[int]
FRAME_CONTENT: Final[int]

class JsonError(ValueError):
    """Not acceptable: `reason` is "invalid JSON", "invalid UTF-8", "deeper than 128" or "not an object"."""

    position: int
    reason: str
    def __init__(self, position: int, reason: str) -> None: ...

class DuplicateField(ValueError):
    """A decision field occurs twice at the top level, in whatever spelling; `position` is the second key's quote."""

    name: str
    position: int
    def __init__(self, name: str, position: int) -> None: ...

class Fields:
    """Finds the decision fields of request bodies. At most 32 lower-case ASCII names of 1 to 64 bytes (ValueError)."""

    def __init__(self, names: Sequence[str]) -> None: ...
    def spans(self, body: bytes) -> dict[str, tuple[int, int]]:
        """Span of the value of each field that the top-level object has under exactly its own spelling.

        Keys in another letter case (long s and the Kelvin sign count as s and k) or with escapes are not reported, but
        count as occurrences: a field that occurs twice raises DuplicateField, because servers disagree on which wins.
        Raises JsonError when the body is not one valid JSON object; that comes before DuplicateField.
        """

    def insertion(self, body: bytes) -> tuple[int, bool]:
        """Offset just after the top-level opening brace, and whether the object is empty (no comma is then needed).

        Looks at nothing else: the body must have passed `spans`. Raises JsonError when it does not start an object.
        """

def scan(data: bytes) -> int:
    """-1 when `data` is one valid JSON value with only whitespace around it, else the error's position."""

def first_byte(value: Buffer) -> int:
    """The first byte of anything that offers its bytes, -1 when it has none. Copies nothing."""

def frame_facts(data: bytes) -> tuple[int, str | None, bytes | None]:
    """FRAME_* flags, the top-level string "type" and the value of the top-level "usage", both as spelt, of one stream
    frame's data or of a whole answer. None: there is none, or a "usage" that is null.

    Keys are matched byte for byte, without escapes; a repeated key adds its flags, and the last "type" and "usage"
    count. Raises JsonError.
    """
