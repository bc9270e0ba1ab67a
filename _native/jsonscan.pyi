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

class MisspeltField(ValueError):
    """A decision field is in another letter case or has escapes: some decoders read it, some do not."""

    name: str
    position: int
    def __init__(self, name: str, position: int) -> None: ...

class Fields:
    """Finds the decision fields of request bodies: at most 26 lower-case ASCII names of 1 to 64 bytes (ValueError).

    `bulky` ones are left out of `Members.small`; `dialogue` names the one that holds an array of messages.
    """

    def __init__(self, names: Sequence[str], bulky: Sequence[str] = ..., dialogue: str | None = None) -> None: ...
    def read(self, body: bytes) -> Members:
        """The fields that the top-level object has under exactly their own spelling, in one pass over the body.

        Keys in another letter case (long s and the Kelvin sign count as s and k) or with escapes are occurrences too:
        a field that occurs twice raises DuplicateField, because servers disagree on which wins, and one that is not
        spelt exactly so raises MisspeltField, because they disagree on whether it is there. Raises JsonError when the
        body is not one valid JSON object. Of several errors: JsonError, DuplicateField, MisspeltField.
        """

class Members:
    """The decision fields of one body. Keeps the body alive."""

    opening: int
    """Offset just after the top-level opening brace."""

    @property
    def plain(self) -> bool:
        """The dialogue is a non-empty array of objects, each with one string `role`, one string `content` and no
        `tool_calls`, whatever else is in it; none of their keys is written with escapes."""

    def __contains__(self, name: str, /) -> bool: ...
    def span(self, name: str) -> tuple[int, int] | None:
        """Where the value of a field is. Raises KeyError for a name that is no field."""

    def first(self, name: str) -> int:
        """The first byte of a field's value, -1 when the body has no such field."""

    def text(self, name: str) -> bytes | None:
        """The value of a field as it is spelt."""

    def spans(self) -> dict[str, tuple[int, int]]:
        """Where the values of all fields are that the body has."""

    def small(self) -> bytes:
        """The body with nothing but the fields that are not bulky, in the order of the names."""

class Numbers:
    """Reads a few whole numbers from a small object: at its top level, or one level below ("outer.inner")."""

    def __init__(self, paths: Sequence[str], foreign: str = "", barred: Sequence[str] = ()) -> None:
        """At most 16 paths (ValueError). Unusual: a name that begins with `foreign`, a number at a `barred` path."""

    def read(self, text: bytes) -> tuple[int | None, ...] | None:
        """The number at each path, None where it is absent or null.

        None instead of a tuple when anything is unusual, so that whoever asks looks closer: no valid object, space
        around it, a number that is not 1 to 15 digits, a value of another type, a key that is written with escapes or
        twice.
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
