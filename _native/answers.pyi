"""What a scan of a whole body found, as numbers: nothing is sliced off and no object is made.

Owns no scanning of its own (`_native.jsonscan`). Pure functions.
"""

from _native.jsonscan import Members, Numbers

SOUND: int
NOT_JSON: int
ERROR_OBJECT: int
BARE_VALUE: int

def is_plain(members: Members) -> bool:
    """`members.plain`."""

def read_answer(body: bytes) -> tuple[int, int, int]:
    """What is wrong with a whole answer (SOUND: nothing), and where the value of its top-level `usage` starts and
    ends; both -1 where there is none, or it is null, or something is wrong."""

def seven_numbers(
    numbers: Numbers, text: bytes, start: int, end: int
) -> tuple[bool, int, int, int, int, int, int, int]:
    """`numbers.read(text[start:end])`, of Numbers of seven paths: whether it found them, and what, -1 for None.

    Raises IndexError where start and end are not of the text.
    """
