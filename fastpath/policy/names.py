"""From a name to the rules that name it: a set of rules is a number with a bit for each.

Owns the index of names and of patterns with `*` at one end. A look-up costs one dictionary access for a name that was
seen before; else one for the name and one for each length of the patterns. What was found is kept, for `KEPT` names at
most, since callers may invent names. One loop, no locking.
"""

from collections.abc import Iterable

KEPT = 4096


class Names:
    """Finds rules by one name. patterns: (pattern, rules)."""

    def __init__(self, patterns: Iterable[tuple[str, int]]) -> None:
        self._exact: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._tails: dict[str, int] = {}
        for pattern, rules in patterns:
            table, name = self._exact, pattern
            if pattern.endswith("*"):
                table, name = self._heads, pattern[:-1]
            elif pattern.startswith("*"):
                table, name = self._tails, pattern[1:]
            table[name] = table.get(name, 0) | rules
        self._head_sizes = sorted({len(head) for head in self._heads})
        self._tail_sizes = sorted({len(tail) for tail in self._tails})
        self._kept: dict[str, int] = {}

    def of(self, name: str) -> int:
        """The rules that name it."""
        found = self._kept.get(name)
        if found is None:
            found = self._find(name)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[name] = found
        return found

    def _find(self, name: str) -> int:
        found = self._exact.get(name, 0)
        for size in self._head_sizes:
            found |= self._heads.get(name[:size], 0)
        for size in self._tail_sizes:
            if size <= len(name):
                found |= self._tails.get(name[len(name) - size :], 0)
        return found
