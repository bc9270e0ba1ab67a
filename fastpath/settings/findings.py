"""What rules are written with: findings, and the mappings of a list with their paths. Pure."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from fastpath.settings.problem import Path, format_path

Values: TypeAlias = dict[str, Any]
Finding: TypeAlias = tuple[Path, str]


def items_of(values: Values, path: Path) -> Iterator[tuple[Path, Values]]:
    """The mappings of the list that `values` has under the last word of `path`, each with its path."""
    found = values.get(str(path[-1])) or []
    return (((*path, i), item) for i, item in enumerate(found) if isinstance(item, dict))


def find_repeats_in(items: Iterable[tuple[Path, Values]], name: str) -> Iterator[Finding]:
    """Mappings that have the same text under `name`."""
    first: dict[str, Path] = {}
    for path, item in items:
        text = item.get(name)
        if isinstance(text, str) and first.setdefault(text, path) != path:
            yield (*path, name), f"is the same as {format_path((*first[text], name))}: each needs its own"


def suggest(name: str, known: list[str], where: str) -> str:
    """What to write instead of a name that nobody has."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"add it under {where}, or remove it here"
