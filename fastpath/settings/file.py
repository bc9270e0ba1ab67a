"""The settings file: YAML in, `Settings` out, or every mistake at once with its line and column.

Owns the order of the checks. Flags and settings made in Python go through the same judge. Reads nothing but the file
it is given; the environment is passed in. Called by the supervisor and the CLI, never in a worker. No shared state.
"""

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from fastpath.settings import Policy, Settings
from fastpath.settings.findings import Finding
from fastpath.settings.pepper import PepperError
from fastpath.settings.policy_rules import find_policy_faults
from fastpath.settings.problem import Path, Problem, SettingsError, format_path
from fastpath.settings.rules import find_conflicts, find_foreign_hashes
from fastpath.settings.secret import reveal_hook, secret_hook
from fastpath.settings.walk import Walk
from fastpath.settings.yaml_tree import MAX_BYTES, Node, Place, YamlError, compose, merge, node_of

__all__ = [
    "Overrides",
    "PepperLookup",
    "Problem",
    "SettingsError",
    "check_part",
    "check_policy",
    "load",
    "read",
    "read_part",
    "read_policy",
    "validate",
]

Overrides: TypeAlias = Mapping[str, Any]
"""Values that win over the file, as nested dicts: `{"listen": {"port": 9000}}`."""

PepperLookup: TypeAlias = Callable[[str | None], tuple[str, str | None]]
"""From the file's `state_dir` to that folder as a text and the id of the pepper in it (None: it has none).

Raises PepperError when the pepper cannot be used."""


def load(
    text: str,
    environ: Mapping[str, str],
    source: str = "fastpath.yaml",
    *,
    overrides: Overrides | None = None,
    pepper: PepperLookup | None = None,
) -> Settings:
    """Settings from the text of a file. `${NAME}` is taken from `environ`; `overrides` win over the file.

    With `pepper`, hashes of keys that it did not make are mistakes. Raises SettingsError with every mistake.
    """
    try:
        root = compose(text)
    except YamlError as error:
        raise SettingsError([Problem(*error.place, "", error.message)], source) from None
    if root is None:
        raise SettingsError([Problem(1, 1, "", "the file is empty: it needs at least `models:`")], source)
    return _judge(merge(root, node_of(dict(overrides))) if overrides else root, environ, source, pepper)


def read(
    path: FilePath,
    environ: Mapping[str, str],
    *,
    overrides: Overrides | None = None,
    pepper: PepperLookup | None = None,
) -> Settings:
    """Settings from the file at `path`; otherwise as `load`. A file that cannot be read is a SettingsError too."""
    source = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError([Problem(0, 0, "", f"cannot be read: {error.strerror}")], source) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problem = Problem(line, column, "", "is not UTF-8 from here on: save it as UTF-8")
        raise SettingsError([problem], source) from None
    return load(text, environ, source, overrides=overrides, pepper=pepper)


def validate(
    settings: Settings,
    source: str = "settings",
    *,
    overrides: Overrides | None = None,
    pepper: PepperLookup | None = None,
) -> Settings:
    """Settings made in Python, put before the same judge as a file. Raises SettingsError with every mistake."""
    root = node_of(msgspec.to_builtins(settings, enc_hook=reveal_hook))
    return _judge(merge(root, node_of(dict(overrides))) if overrides else root, {}, source, pepper)


def check_policy(policy: Policy) -> list[Problem]:
    """What is wrong with one rule that was made elsewhere, by itself: whether its names exist is not asked."""
    return _walk_policy(node_of(msgspec.to_builtins(policy)))[1]


def check_part(values: Mapping[str, Any], kind: type[msgspec.Struct]) -> list[Problem]:
    """What is wrong with a model or an endpoint that was made elsewhere, by itself."""
    walk = Walk({})
    walk.value_of(node_of(dict(values)), inspect.type_info(kind))
    return walk.problems


def read_part(text: str, environ: Mapping[str, str], source: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The plain fields of one model or endpoint from the text of a file, as in a settings file; a model may stand
    without endpoints. Raises SettingsError."""
    try:
        root = compose(text)
    except YamlError as error:
        raise SettingsError([Problem(*error.place, "", error.message)], source) from None
    if root is None:
        raise SettingsError([Problem(1, 1, "", "the file is empty")], source)
    walk = Walk(environ)
    values = walk.value_of(root, inspect.type_info(kind))
    if problems := [one for one in walk.problems if one.path != "endpoints"]:
        raise SettingsError(problems, source)
    plain: dict[str, Any] = msgspec.to_builtins(values, enc_hook=reveal_hook)
    return plain


def read_policy(text: str, source: str) -> Policy:
    """One rule from the text of a file, as under `policies` in a settings file. Raises SettingsError."""
    try:
        root = compose(text)
    except YamlError as error:
        raise SettingsError([Problem(*error.place, "", error.message)], source) from None
    if root is None:
        raise SettingsError([Problem(1, 1, "", "the file is empty: it needs a rule")], source)
    values, problems = _walk_policy(root)
    if problems:
        raise SettingsError(problems, source)
    return msgspec.convert(values, Policy)


def _walk_policy(root: Node) -> tuple[Any, list[Problem]]:
    walk = Walk({})
    values = walk.value_of(root, inspect.type_info(Policy))
    if isinstance(values, dict):
        for path, message in find_policy_faults(values):
            walk.report(_nearest(walk.places, path), path, message)
    return values, walk.problems


def _judge(root: Node, environ: Mapping[str, str], source: str, pepper: PepperLookup | None) -> Settings:
    walk = Walk(environ)
    values = walk.value_of(root, inspect.type_info(Settings))
    if isinstance(values, dict):
        _compare(walk, values, pepper)
    if walk.problems:
        raise SettingsError(sorted(walk.problems, key=lambda p: (p.line, p.column)), source)
    _inherit_timeouts(values)
    return msgspec.convert(values, Settings, dec_hook=secret_hook)


def _compare(walk: Walk, values: dict[str, Any], pepper: PepperLookup | None) -> None:
    findings = list(find_conflicts(values, walk.hidden))
    if pepper is not None and values.get("keys"):
        findings += _compare_hashes(values, pepper)
    wrong = {problem.path for problem in walk.problems}  # what is wrong by itself is not missing, too
    for path, message in findings:
        if format_path(path) not in wrong:
            walk.report(_nearest(walk.places, path), path, message)


def _compare_hashes(values: dict[str, Any], pepper: PepperLookup) -> list[Finding]:
    try:
        folder, pepper_id = pepper(values.get("state_dir"))
    except PepperError as error:
        return [(("state_dir",), str(error))]
    return list(find_foreign_hashes(values, pepper_id, folder))


def _nearest(places: Mapping[Path, Place], path: Path) -> Place:
    """Where `path` stands, or the closest thing around it that was written."""
    while path not in places:
        path = path[:-1]
    return places[path]


def _inherit_timeouts(values: dict[str, Any]) -> None:
    """A model's time-outs replace those for all one by one."""
    for model in values.get("models", ()):
        if model.get("timeouts"):
            model["timeouts"] = {**values.get("timeouts", {}), **model["timeouts"]}
