"""Where the project's files are, for the tests that read them instead of running them."""

import ast
from collections.abc import Iterator
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
ROOTS = ("fastpath", "backends", "scheduler", "_native", "controlplane")
#: What is held to the house's sizes besides the product: tests are code that someone lives in, too.
ALL = (*ROOTS, "tests", "loadtest", "bench", "tools")


def python_files(roots: tuple[str, ...]) -> list[Path]:
    """Every Python module below these folders."""
    return sorted(path for root in roots for path in (HOME / root).rglob("*.py"))


def kernel_files() -> list[Path]:
    """Every Cython file."""
    return sorted([*(HOME / "_native").rglob("*.pyx"), *(HOME / "_native").rglob("*.pxd")])


def function_lengths(path: Path) -> Iterator[int]:
    """Lines of each function's body in a module, its docstring left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 1
