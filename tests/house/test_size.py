"""Nothing grows past what one person reads in one sitting."""

from pathlib import Path
from statistics import median

import pytest

from tests.house.sources import ALL, HOME, ROOTS, function_lengths, kernel_files, python_files


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_modules_are_found() -> None:
    assert len(python_files(ROOTS)) > 80
    assert {path.suffix for path in kernel_files()} == {".pyx", ".pxd"}


def test_no_module_is_over_700_lines() -> None:
    long = {str(path.relative_to(HOME)): lines(path) for path in python_files(ALL) if lines(path) > 700}
    assert not long


def test_no_kernel_reaches_1000_lines() -> None:
    long = {str(path.relative_to(HOME)): lines(path) for path in kernel_files() if lines(path) >= 1000}
    assert not long


@pytest.mark.parametrize("root", [root for root in ROOTS if len(python_files((root,))) > 1])
def test_the_median_function_is_under_10_lines(root: str) -> None:
    lengths = [length for path in python_files((root,)) for length in function_lengths(path)]
    assert median(lengths) < 10


def test_the_median_counts_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('def f():\n    """Says."""\n    a = 1\n    return a\n\n\nasync def g():\n    """Only says."""\n')
    assert list(function_lengths(path)) == [2, 1]
