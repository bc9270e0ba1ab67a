"""Mistakes in settings, as data.

Owns their shape and how they print. Never holds a value from a file, so a problem may be logged. Pure.
"""

from typing import TypeAlias

from msgspec import Struct

Path: TypeAlias = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """One mistake. `line` and `column` count from 1; 0 means that it is not in a file (a flag, a program).

    `path` is the key as in `models[0].endpoints[1].url`, empty for the file as a whole. `message` says what to do.
    """

    line: int
    column: int
    path: str
    message: str

    def format(self, source: str) -> str:
        """`file:line:column: path: message`, without the parts that are not known."""
        where = f"{source}:{self.line}:{self.column}" if self.line else source
        return ": ".join(part for part in (where, self.path, self.message) if part)


class SettingsError(Exception):
    """Settings that cannot be used. `problems` holds every mistake in the order of the file."""

    def __init__(self, problems: list[Problem], source: str) -> None:
        super().__init__("\n".join(problem.format(source) for problem in problems))
        self.problems = problems
        self.source = source


def format_path(path: Path) -> str:
    """`("models", 0, "url")` as `models[0].url`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")
