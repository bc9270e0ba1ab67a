"""Pages of a list: in the order in which things were made, from where the last page ended.

Owns the cursor. Does not own what is listed. A page costs the same however far in it is, and a thing that is made or
removed meanwhile moves no other. Pure.
"""

import re
from typing import Annotated, Any, Final, Generic, TypeVar

from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, Select, Table, literal, tuple_

from controlplane.ids import HexId
from controlplane.problem import invalid
from controlplane.store.metadata import Micros

MOST: Final = 1000
_CURSOR: Final = re.compile(r"([0-9]{1,18})\.([0-9a-f]{32})")

T = TypeVar("T")

Limit = Annotated[int, Meta(ge=1, le=MOST)]


class Page(Struct, frozen=True):
    """How much of a list, and from where. `after` is the `next` of the page before."""

    limit: int = 100
    after: str | None = None


class Listing(Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list."""

    object: str = "list"
    data: list[T]
    next: Annotated[str | None, Meta(description="Send it as `after` for the next page; null: this is the last.")]


def cut(statement: Select[Any], table: Table, page: Page) -> Select[Any]:
    """A statement that finds one page, and one row more to see whether there is another."""
    place: ColumnElement[Any] = tuple_(table.c.created_at, table.c.id)
    if page.after is not None:
        made, last = _parse(page.after)
        statement = statement.where(place > tuple_(literal(made, Micros), literal(last, HexId())))
    return statement.order_by(table.c.created_at, table.c.id).limit(page.limit + 1)


def next_of(rows: list[Any], page: Page) -> str | None:
    """The cursor after the page's last row, when there are more."""
    if len(rows) <= page.limit:
        return None
    last = rows[page.limit - 1]
    return f"{last.created_at}.{last.id}"


def _parse(cursor: str) -> tuple[int, str]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise invalid("`after` is not the `next` of a page: send that, or leave it out.", "after")
    return int(found[1]), found[2]
