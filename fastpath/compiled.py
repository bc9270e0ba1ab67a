"""Whether what is compiled is what is written: in a source tree, an edit takes effect only after `make install`.

Looks at file times only, once at start. A tree without setup.py is an installation, whose times mean nothing.
"""

from collections.abc import Iterator
from pathlib import Path

ROOTS = ("_native", "backends", "controlplane", "fastpath", "scheduler")


def outdated(tree: Path) -> list[str]:
    """Sources below `tree` that were changed after they were compiled, as relative paths."""
    if not (tree / "setup.py").exists():
        return []
    found = []
    for types in (path for root in ROOTS for path in (tree / root).rglob("*.pxd")):
        built = max((path.stat().st_mtime for path in types.parent.glob(f"{types.stem}.*.so")), default=None)
        if built is not None:
            found += [str(path.relative_to(tree)) for path in _sources(types) if path.stat().st_mtime > built]
    return sorted(found)


def _sources(types: Path) -> Iterator[Path]:
    for suffix in (".pxd", ".pyx", ".py"):
        source = types.with_suffix(suffix)
        if source.exists():
            yield source
