"""Fastpath: one front door for a mixed pool of model servers.

Owns the public names: `Gateway`, `Settings`, `__version__`. Names are loaded on first use (PEP 562), so that
`import fastpath` costs next to nothing. Does not own anything that serves. Import is the only side effect: it checks
that the sibling roots are this project's own.
"""

import importlib.util
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastpath.app import Gateway
    from fastpath.settings import Settings

__version__ = "0.1.0"
__all__ = ["Gateway", "Settings", "__version__"]

_EXPORTS = {"Gateway": "fastpath.app", "Settings": "fastpath.settings"}


def _find_root(name: str) -> str:
    """Folder from which `import <name>` would load, without importing it; a text saying so when there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module put into sys.modules by hand, without a spec
        return f"<a module without a file, named {name!r}>"
    if spec is None:
        return "<nowhere>"
    places = list(spec.submodule_search_locations or ()) or [spec.origin or "<nowhere>"]
    return places[0]


def _check_roots() -> None:
    """Raises ImportError when a root of this project would be loaded from another project.

    The roots have generic names, and `import scheduler` takes the first one on sys.path.
    """
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for name in ("scheduler", "backends", "_native"):
        found = _find_root(name)
        if os.path.realpath(found) != os.path.join(home, name):
            raise ImportError(
                f"Fastpath needs its own package {name!r} from {os.path.join(home, name)}, but Python finds {found}. "
                "Another project shadows it: install fastpath-gateway into a virtual environment of its own, or take "
                "the other project's folder off PYTHONPATH and out of the current folder (python -P).",
                name=name,
                path=found,
            )


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'fastpath' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)


_check_roots()
