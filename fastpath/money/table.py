"""The price table: which price a model of a provider has at a moment.

Owns the rows' standing to each other, the look-up and the names that a model goes by: exact ones, and patterns that
hold a date suffix, never anything fuzzy. A name that is not in the table has no price, which is said and not guessed.
Checked whole when it is made, immutable afterwards. Does no arithmetic (`price`); reads no file (`price_file`).
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from fastpath.money.row import PriceRow, find_mistakes, pattern_of, price_of
from scheduler.money import Price

_Version = tuple[date, PriceRow, Price]


class PriceError(ValueError):
    """Rows that cannot be used. `problems` holds every mistake, each with its row."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PriceTable:
    """Price rows, looked up by provider, model and moment."""

    __slots__ = ("_names", "_patterns", "_versions", "rows")

    def __init__(self, rows: Iterable[PriceRow], labels: Sequence[str] = ()) -> None:
        """labels: where each row stands, for messages. Raises PriceError with every mistake."""
        self.rows = tuple(rows)
        self._versions: dict[tuple[str, str], list[_Version]] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._patterns: dict[str, dict[re.Pattern[str], str]] = {}
        problems = list(self._add_all(labels))
        if problems:
            raise PriceError(problems)

    def find(self, provider: str, model: str, at: float) -> Price | None:
        """The price on the UTC day of `at` (Unix seconds); its `version` never means another price. None: no row."""
        found = self._version(provider, model, at)
        return None if found is None else found[2]

    def find_row(self, provider: str, model: str, at: float) -> PriceRow | None:
        """The row that `find` takes the price from: its source, and the model's own bounds."""
        found = self._version(provider, model, at)
        return None if found is None else found[1]

    def overlay(self, rows: Iterable[PriceRow], labels: Sequence[str] = ()) -> "PriceTable":
        """This table with every row of a model replaced where `rows` names that model. Raises PriceError."""
        own = tuple(rows)
        replaced = {(row.provider, row.model) for row in own}
        kept = [row for row in self.rows if (row.provider, row.model) not in replaced]
        return PriceTable((*own, *kept), labels)

    def _version(self, provider: str, model: str, at: float) -> _Version | None:
        versions = self._versions.get((provider, self._model(provider, model)), [])
        day = datetime.fromtimestamp(at, UTC).date()
        index = bisect_right(versions, day, key=lambda version: version[0])
        if not index:
            return None
        found = versions[index - 1]
        until = found[1].until
        return found if until is None or day < until else None

    def _model(self, provider: str, name: str) -> str:
        """The model that a name stands for; the name itself when it is nobody's."""
        if (provider, name) in self._versions:
            return name
        model = self._names.get((provider, name))
        if model is not None:
            return model
        patterns = self._patterns.get(provider, {})
        return next((model for pattern, model in patterns.items() if pattern.fullmatch(name)), name)

    def _add_all(self, labels: Sequence[str]) -> Iterable[str]:
        good: list[tuple[str, PriceRow]] = []
        for index, row in enumerate(self.rows):
            label = labels[index] if index < len(labels) else f"row {index + 1}"
            where = f"{label} ({row.provider}/{row.model} from {row.start})"
            mistakes = list(find_mistakes(row))
            yield from (f"{where}: {mistake}" for mistake in mistakes)
            if not mistakes:
                good.append((where, row))
        for where, row in sorted(good, key=lambda item: item[1].start):
            yield from self._add(where, row)
        owners: dict[tuple[str, str], str] = {}
        for where, row in good:
            yield from self._add_names(where, row, owners)

    def _add(self, where: str, row: PriceRow) -> Iterable[str]:
        versions = self._versions.setdefault((row.provider, row.model), [])
        if versions:
            _, last, _ = versions[-1]
            if last.start == row.start:
                yield f"{where}: there is another row of this model from the same day: remove one"
                return
            if last.until is not None and last.until > row.start:
                yield f"{where}: the row from {last.start} covers this day too, until {last.until}: end it earlier"
        versions.append((row.start, row, price_of(row)))

    def _add_names(self, where: str, row: PriceRow, owners: dict[tuple[str, str], str]) -> Iterable[str]:
        for name in row.names:
            owner = owners.setdefault((row.provider, name), row.model)
            if owner != row.model or (row.provider, name) in self._versions:
                yield f"{where}: the name {name!r} is another model's already: give it to one of them"
                continue
            pattern = pattern_of(name)
            if pattern is None:
                self._names[row.provider, name] = row.model
            else:
                self._patterns.setdefault(row.provider, {})[pattern] = row.model
