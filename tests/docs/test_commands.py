"""Every command that a document shows is run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import MARKS, RUN_LANGUAGES, Block, blocks, name, pages
from tests.docs.shell import Terminal

RUNNABLE = [page for page in pages() if any(block.language in RUN_LANGUAGES for block in blocks(page))]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.mark.timeout(600)  # of a page: a program that hangs is told of long before, by `shell.PATIENCE`
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_the_commands_of_a_page_work(page: Path, terminal: Terminal) -> None:
    for block in blocks(page):
        if block.mark != "wheel" and (block.language in RUN_LANGUAGES or block.file is not None):
            terminal.run(block)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.language, f"{name(page)}:{block.line}: a block needs a language; `text` is never run"
        if block.language in RUN_LANGUAGES:
            assert block.mark in MARKS, f"{name(page)}:{block.line}: {block.mark}"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_no_command_hides_in_another_language(page: Path) -> None:
    for block in blocks(page):
        if block.language not in RUN_LANGUAGES:
            assert not re.search(r"^\$ |^(make|pip|curl|fastpath) ", block.text, re.MULTILINE), block.line


def test_the_page_with_the_most_promises_is_run() -> None:
    assert {"README.md", "README.zh-CN.md", "docs/how-to/rehearse-with-the-mock.md"} <= {
        name(page) for page in RUNNABLE
    }


def test_a_command_that_fails_is_seen(terminal: Terminal) -> None:
    with pytest.raises(AssertionError, match="line 3"):
        terminal.run(Block("sh", "", "true\nfalse | cat\n", 3))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo all went wrong; sleep 300 & exit 3\n", "ended with status 3:\nall went wrong"),
        ("echo not yet; exec sleep 300\n", "does not serve after 2 s:\nnot yet"),
    ],
    ids=["ends", "hangs"],
)
def test_a_program_that_does_not_serve_shows_what_it_said(tmp_path: Path, text: str, problem: str) -> None:
    terminal = Terminal(tmp_path, patience=2.0)
    try:
        with pytest.raises(AssertionError, match=problem):
            terminal.run(Block("sh", "background", text, 3))
    finally:
        terminal.close()
