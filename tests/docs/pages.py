"""The project's documents as data: pages, their fenced blocks, their links."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

HOME = Path(__file__).resolve().parents[2]
RUN_LANGUAGES = ("sh", "bash", "python")
MARKS = ("", "background", "instead", "dry", "wheel")

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Block(msgspec.Struct, frozen=True):
    """A fenced block: its language, what follows the language, its text, its first line's number."""

    language: str
    mark: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is the content of."""
        return self.mark.removeprefix("file=") if self.mark.startswith("file=") else None


def pages() -> list[Path]:
    """Every document of the project."""
    return sorted([*HOME.glob("*.md"), *(HOME / "docs").rglob("*.md")])


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        language, _, mark = found["info"].strip().partition(" ")
        yield Block(language, mark, found["text"], text.count("\n", 0, found.start()) + 2)


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures that lie in this repository, without anchors."""
    targets = [target.partition("#")[0] for target in _LINK.findall(page.read_text())]
    return [target for target in targets if target and "://" not in target]


def name(page: Path) -> str:
    return str(page.relative_to(HOME))
