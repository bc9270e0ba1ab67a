"""128-bit random ids: 32 hex digits in the API and in Python, 16 bytes in the database.

Owns both forms and the way between them. Ids say nothing: neither order nor owner can be guessed from one.
"""

import re
import secrets
from typing import Annotated, Final

from msgspec import Meta
from sqlalchemy import Dialect, LargeBinary, TypeDecorator

from controlplane.problem import missing

ObjectId = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="Id of an object: 32 hex digits.")]

_ID: Final = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    """A new id."""
    return secrets.token_hex(16)


def check_id(text: str, kind: str) -> str:
    """The id in a path. Whatever is none is answered like an id that nobody has: raises a 404."""
    if _ID.fullmatch(text) is None:
        raise missing(kind)
    return text


class HexId(TypeDecorator[str]):
    """A column that holds an id."""

    impl = LargeBinary(16)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """To the database. Raises ValueError for what is not hex."""
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        """From the database."""
        return None if value is None else bytes(value).hex()
