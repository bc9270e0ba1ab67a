"""Whether models and endpoints can be served: by themselves, and beside all others and those of the settings file.

Owns the 422 and its words. The rules are those of a settings file (`fastpath.settings`), so that nothing is stored that
a node would refuse. Pure but for the rows it is given.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from controlplane.problem import Problem
from controlplane.registry.published import Reveal
from controlplane.registry.scene import Scene
from controlplane.registry.tables import ENDPOINTS
from controlplane.secrets.seal import SealError, bound_row
from fastpath.settings import Endpoint, Model
from fastpath.settings.file import check_part
from fastpath.settings.registry import told_faults

_SOMEBODY: Final = {"url": "http://127.0.0.1"}
MOST_TOLD: Final = 5


def unfit(message: str, param: str | None = None) -> Problem:
    """It reads well, and could not be served."""
    return Problem(422, "unfit", message, param)


def check_fields(kind: type[Struct], name: str, says: dict[str, Any]) -> None:
    """Raises a 422 for values that a settings file could not have."""
    needed: dict[str, Any] = {"endpoints": [_SOMEBODY]} if kind is Model else {}
    if kind is Endpoint and not ({"url", "preset"} & says.keys()):
        raise unfit(
            "`url` is missing: give the base URL of the endpoint's API, or a preset (`fastpath presets`).", "url"
        )
    for problem in check_part({**says, **needed, "name": name}, kind):
        raise unfit(f"`{problem.path}` {problem.message}.", problem.path)


def check_whole(before: Iterable[str], after: Iterable[str]) -> None:
    """Raises a 422 for what a change would make wrong that was right."""
    old = set(before)
    new = [fault for fault in after if fault not in old]
    if new:
        raise unfit("; ".join(new[:MOST_TOLD]) + ".")


def _open(row: Any, reveal: Reveal) -> object:
    """The key in a row, to be compared. One that cannot be opened is like no other: it must stay removable."""
    try:
        return reveal(bytes(row.sealed), bound_row(ENDPOINTS.name, row.id))
    except SealError:
        return row.id


def find_faults(scene: Scene, models: Iterable[Any], endpoints: Iterable[Any], reveal: Reveal) -> list[str]:
    """What is wrong with these rows together and beside the models of the file, which win over those of their name."""
    values = scene.settings()
    below: dict[str, list[dict[str, Any]]] = {}
    for row in endpoints:
        if row.state == "active":
            said = {**row.says, "name": row.name}
            if row.sealed is not None:  # two accounts at one place are two endpoints
                said["api_key"] = _open(row, reveal)
            below.setdefault(row.model_id, []).append(said)
    for row in models:
        if not scene.owns(row.name):
            values["models"].append({**row.says, "name": row.name, "endpoints": below.get(row.id, [])})
    return told_faults(values)
