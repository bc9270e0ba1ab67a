"""What a file of answers is called, and which file a name means.

Owns names only. A name says when the file was begun, as a Moment, so its age is known whatever the clocks did since.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from fastpath.idempotency.moment import BOOT_SIZE, Moment
from fastpath.idempotency.slot import TOKEN_SIZE

_NAME: Final = re.compile(
    rf"([0-9a-f]{{{2 * BOOT_SIZE}}})-([0-9]{{1,19}})-([0-9]{{1,19}})-([0-9a-f]{{{2 * TOKEN_SIZE}}})\.answers"
)


class Segment(NamedTuple):
    """One file of answers: when it was begun, and its random token."""

    born: Moment
    token: bytes

    @property
    def name(self) -> str:
        born = self.born
        return f"{born.boot.hex()}-{born.monotonic}-{born.wall}-{self.token.hex()}.answers"


def list_segments(folder: Path) -> list[Segment]:
    """All of the folder. Other files are not looked at. Raises OSError."""
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return [
        Segment(Moment(bytes.fromhex(match[1]), int(match[2]), int(match[3])), bytes.fromhex(match[4]))
        for match in found
        if match
    ]
