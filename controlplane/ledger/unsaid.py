"""Which attempt a statement's line is about when the line does not say.

Owns the rule: the only attempt that the request made at that provider, and none when there is a doubt. Where an attempt
that cost nothing went is not in the books, so beside one there always is a doubt. Pure.
"""

from collections.abc import Mapping, Sequence, Set

from msgspec.structs import replace

from controlplane.ledger.fold import Record
from controlplane.ledger.originals import Original, Where
from controlplane.ledger.statement import UNSAID, Line


def list_wanted(lines: Sequence[Line], records: Mapping[bytes, Record]) -> list[Where]:
    """The attempts whose transactions `list_meant` must know."""
    found: dict[Where, None] = {}
    for line in lines:
        if line.attempt != UNSAID:
            found[line.request, line.attempt] = None
        elif (record := records.get(line.request)) is not None:
            found.update(dict.fromkeys((line.request, attempt) for attempt in range(1, record.attempts + 1)))
    return list(found)


def list_meant(line: Line, record: Record | None, originals: Mapping[Where, Original], provider: str) -> Sequence[int]:
    """Attempts that a line may be about: the one it says, or all that were made at that provider or may have been."""
    if line.attempt != UNSAID:
        return (line.attempt,)
    made = () if record is None else range(1, record.attempts + 1)
    places = {attempt: originals.get((line.request, attempt)) for attempt in made}
    return [attempt for attempt, original in places.items() if original is None or original.endpoint == provider]


def place_line(line: Line, meant: Sequence[int], named: Set[Where]) -> Line:
    """The line with its attempt, or as it is when nobody can tell. `named`: attempts that other lines say."""
    if len(meant) != 1 or (line.request, meant[0]) in named:
        return line
    return replace(line, attempt=meant[0])
