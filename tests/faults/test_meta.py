"""The rows of the fault matrix that must be held have tests, and no test of a row is skipped.

Read from the source of this folder, so that a row cannot vanish by a rename, a marker or a condition.
"""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = (
    *(
        "F01",
        "F02",
        "F03",
        "F04",
        "F05",
        "F06",
        "F07",
        "F08",
        "F09",
        "F10",
        "F11",
        "F12",
        "F13",
        "F14",
        "F15",
        "F16",
        "F17",
    ),
    *("F35", "F36", "F37", "F41", "F42", "F43", "F44", "F45", "F46", "F49", "F52"),
)
#: Rows of the books and the stores behind them, whose tests are in the rooms that they are about.
BOOK_ROWS = (
    *("F20", "F21", "F22", "F23", "F24", "F25", "F26", "F27", "F28", "F29", "F30", "F31", "F32", "F33", "F34"),
    *("F38", "F39"),
)
#: Names that keep a test from running or from failing, as markers, calls or decorators.
ESCAPES = {"skip", "skipif", "xfail", "importorskip"}

Test = ast.FunctionDef | ast.AsyncFunctionDef


def parsed() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(HERE.glob("test_*.py")) if path != Path(__file__)}


def row_tests(row: str) -> list[Test]:
    """The module-level test functions of a row, which pytest collects."""
    found = (node for tree in parsed().values() for node in tree.body if isinstance(node, Test))
    return [node for node in found if re.match(rf"test_{row}_\w+", node.name)]


def anywhere_in_tests(row: str) -> list[Test]:
    """Tests of all rooms that have a row's number in their name, so that `pytest -k F24` finds them."""
    trees = (ast.parse(path.read_text()) for path in sorted(HERE.parent.rglob("test_*.py")))
    found = (node for tree in trees for node in tree.body if isinstance(node, Test))
    return [node for node in found if row in node.name.upper().split("_")]


def escapes_in(tree: ast.AST) -> list[str]:
    """Every use of an escape, whatever it is spelled as an attribute of."""
    names = (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in ast.walk(tree))
    return [name for name in names if name in ESCAPES]


def asserts_in(test: Test) -> int:
    """Assertions, made here or by a function named for it, and expected exceptions."""
    calls = (node.func for node in ast.walk(test) if isinstance(node, ast.Call))
    named = [call for call in calls if ast.unparse(call).startswith(("assert_", "pytest.raises"))]
    return len(named) + sum(isinstance(node, ast.Assert) for node in ast.walk(test))


@pytest.mark.parametrize("row", ROWS)
def test_the_row_has_tests(row: str) -> None:
    tests = row_tests(row)
    assert tests, f"no test_{row}_* in {HERE.name}/"
    for test in tests:
        assert asserts_in(test), f"{test.name} asserts nothing"


@pytest.mark.parametrize("row", BOOK_ROWS)
def test_a_row_of_the_books_has_tests(row: str) -> None:
    tests = anywhere_in_tests(row)
    assert tests, f"no test_{row}_*"
    for test in tests:
        assert not escapes_in(test), f"{test.name} may be skipped"
        assert asserts_in(test), f"{test.name} asserts nothing"


def test_no_test_here_is_skipped_or_expected_to_fail() -> None:
    found = {path.name: names for path, tree in parsed().items() if (names := escapes_in(tree))}
    assert not found


@pytest.mark.parametrize(
    "source",
    ["@pytest.mark.skip\ndef test_x(): ...", "pytest.skip('later')", "pytestmark = pytest.mark.xfail", "skipif(1)"],
)
def test_an_escape_is_seen(source: str) -> None:
    assert escapes_in(ast.parse(source))


def test_an_empty_test_is_seen() -> None:
    test = ast.parse("def test_F01_x(): pass").body[0]
    assert isinstance(test, Test)
    assert not asserts_in(test)
