"""Which requests were running when workers died: a small table in the arena, written on deaths, read by all workers.

Two fingerprints. The weak one costs next to nothing and is taken of every request; requests that share one with a
request that was in a dead worker are then told apart by the strong one, of the whole body. A strong one that was in a
dead worker as well is poison: its request was running at two deaths. Strikes end by themselves, and at once when such
a request is answered well: then it was a bystander. Owns the table. Whoever is killed in the middle of a write leaves
an entry that counts for nothing or ends early. Times: monotonic seconds.
"""

from typing import Final

from _native.arena import Arena, Word, digest

#: Requests of one worker that are marked: the last so many that began.
RING: Final = 16
ENTRIES: Final = 32
#: A strike is forgotten after so long.
STRUCK_FOR: Final = 600.0
STRONG: Final = 1 << 62


def mark_words(arena: Arena, slot: int) -> list[Word]:
    """Where the worker in this slot of the arena marks what it runs."""
    return [arena.word(digest("poison mark", str(slot), str(place))) for place in range(RING)]


class Strikes:
    """The table, as one process sees it."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._marks = [arena.word(digest("poison struck", str(n))) for n in range(ENTRIES)]
        self._ends = [arena.word(digest("poison until", str(n))) for n in range(ENTRIES)]
        self.version = arena.word(digest("poison version"))  # changes with the table

    def read(self, now: float) -> frozenset[int]:
        """The fingerprints that are struck at this moment."""
        moment = int(now * 1e3)
        pairs = zip(self._marks, self._ends, strict=True)
        return frozenset(mark.value for mark, end in pairs if mark.value and end.value > moment)

    def note_death(self, slot: int, now: float) -> int:
        """Strikes what the dead worker of this slot was running; how many requests that were."""
        found = set()
        for word in mark_words(self._arena, slot):
            if word.value:
                found.add(word.value)
                word.set(0)
        for mark in found:
            self._strike(mark, now)
        return len(found)

    def clear(self, mark: int) -> None:
        """A request with this fingerprint was answered well."""
        for word in self._marks:
            if word.value == mark and word.compare_and_set(mark, 0):
                self.version.set(self.version.value + 1)

    def _strike(self, mark: int, now: float) -> None:
        place = self._place(mark, now)
        self._marks[place].set(0)
        self._ends[place].set(int((now + STRUCK_FOR) * 1e3))
        self._marks[place].set(mark)
        self.version.set(self.version.value + 1)

    def _place(self, mark: int, now: float) -> int:
        """Its own entry, else one that is free or over, else the one that ends first."""
        marks = [word.value for word in self._marks]
        if mark in marks:
            return marks.index(mark)
        ends = [word.value if taken else 0 for word, taken in zip(self._ends, marks, strict=True)]
        return ends.index(min(ends))
