"""The name of a form's part, where everybody who reads the form finds the same one.

Owns which Content-Disposition has one reading. Parsers disagree about escapes, about a name that is given twice, and
about names in an extended form (`name*`, RFC 2231), which some decode and others pass over; RFC 7578 (4.2) has none of
these. By the other reading a form would ask for another model, or for more, than was decided about. Pure.
"""

import re
from collections.abc import Iterator
from typing import Final

#: One parameter. No quoted value has an escaped quote, which ends it for some parsers and not for others.
_PARAMETER: Final = re.compile(rb';[ \t]*([^\s;="]+)=(?:"((?:[^"\\]|\\(?!"))*)"|([^\s;"\\]*))[ \t]*')


class DispositionError(ValueError):
    """It has more than one reading; the text says why."""


def name_of(disposition: bytes) -> bytes | None:
    """The part's name, None for one without. Raises DispositionError."""
    kind, separator, rest = disposition.strip(b" \t").partition(b";")
    if kind.rstrip(b" \t").lower() != b"form-data":
        raise DispositionError("the disposition of a part is not form-data")
    name = None
    for key, value in _parameters((separator + rest).rstrip(b" \t;")):
        if key.startswith(b"name*"):
            raise DispositionError("the name of a part is in an extended form (name*)")
        if key == b"name":
            if name is not None or b"\\" in value:
                raise DispositionError("the name of a part appears twice, or has a backslash")
            name = value
    return name


def _parameters(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each with its name in lower case."""
    at = 0
    while at < len(text):
        found = _PARAMETER.match(text, at)
        if found is None:
            raise DispositionError("the disposition of a part cannot be read in one way only")
        at = found.end()
        yield found[1].lower(), found[3] if found[2] is None else found[2]
