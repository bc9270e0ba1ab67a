"""Which requests were running when workers died: a small table in the arena, written on deaths, read by all workers.

Two fingerprints. The weak one costs next to nothing and is taken of every request; requests that share one with a
request that was in a dead worker are then told apart by the strong one, of the whole body. A strong one that was in a
dead worker as well is poison: its request was running at two deaths. Strikes end by themselves; who is answered well in
between was a bystander, and its deaths are counted from there. Owns the table. Whoever is killed in the middle of a
write leaves an entry that counts for nothing or ends early. Times: monotonic seconds.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from _native.arena import Arena, Word, digest

#: Requests of one worker that are marked: the last so many that began.
RING: Final = 16
ENTRIES: Final = 32
#: A strike is forgotten after so long.
STRUCK_FOR: Final = 600.0
STRONG: Final = 1 << 62
#: Deaths after which a request is refused.
DEATHS: Final = 2
#: Entries for those that were cleared.
CLEARED: Final = ENTRIES // 2
_BITS: Final = 48
_UNTIL: Final = (1 << _BITS) - 1


def mark_words(arena: Arena, slot: int) -> list[Word]:
    """Where the worker in this slot of the arena marks what it runs."""
    return [arena.word(digest("poison mark", str(slot), str(place))) for place in range(RING)]


class Found(NamedTuple):
    """The table at one moment: weak fingerprints that are struck, strong ones that are refused, and cleared ones."""

    struck: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    cleared: frozenset[int] = frozenset()


class Strikes:
    """The table, as one process sees it. An entry: a fingerprint, its deaths since it was last answered, its end."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._marks = [arena.word(digest("poison struck", str(n))) for n in range(ENTRIES)]
        self._facts = [arena.word(digest("poison until", str(n))) for n in range(ENTRIES)]
        self.version = arena.word(digest("poison version"))  # changes with the table

    def read(self, now: float) -> Found:
        """What it says at this moment."""
        entries = list(self._entries(now))
        strong = [(mark, deaths) for mark, deaths in entries if mark & STRONG]
        return Found(
            frozenset(mark for mark, _ in entries if not mark & STRONG),
            frozenset(mark for mark, deaths in strong if deaths >= DEATHS),
            frozenset(mark for mark, deaths in strong if not deaths),
        )

    def note_death(self, slot: int, now: float) -> int:
        """Strikes what the dead worker of this slot was running; how many requests that were."""
        found = set()
        for word in mark_words(self._arena, slot):
            if word.value:
                found.add(word.value)
                word.set(0)
        known = dict(self._entries(now))
        for mark in found:
            # A strong one is taken only of what was struck by its weak one: that was the first death.
            deaths = known[mark] + 1 if mark in known else DEATHS if mark & STRONG else 1
            self._write(mark, deaths, now, CLEARED)
        return len(found)

    def clear(self, mark: int, now: float) -> None:
        """A request with this strong fingerprint was answered well: whatever killed workers, it was not this."""
        self._write(mark, 0, now, 0)

    def _entries(self, now: float) -> Iterator[tuple[int, int]]:
        """Fingerprints and deaths of the entries whose time is not over."""
        moment = int(now * 1e3)
        for mark, facts in zip(self._marks, self._facts, strict=True):
            if mark.value and facts.value & _UNTIL > moment:
                yield mark.value, facts.value >> _BITS

    def _write(self, mark: int, deaths: int, now: float, first: int) -> None:
        place = self._place(mark, first)
        self._marks[place].set(0)
        self._facts[place].set(min(deaths, 255) << _BITS | int((now + STRUCK_FOR) * 1e3) & _UNTIL)
        self._marks[place].set(mark)
        self.version.set(self.version.value + 1)

    def _place(self, mark: int, first: int) -> int:
        """Its own entry, else one of its half (from `first` on) that is free or over, else that which ends first.
        The cleared have a half of their own, so that many of them cannot displace what is struck."""
        marks = [word.value for word in self._marks]
        if mark in marks:
            return marks.index(mark)
        half = range(first, first + CLEARED)
        return min(half, key=lambda place: self._facts[place].value & _UNTIL if marks[place] else 0)
