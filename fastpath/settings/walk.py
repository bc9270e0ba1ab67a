"""Nodes against types: what is wrong where, and the values that are right.

Owns the comparison of a tree of nodes with the Structs of `settings`, and `${NAME}`. It goes on after a mistake, so
that one run shows all of them. Messages never repeat a value. Does not compare settings with each other
(`rules`). One `Walk` serves one reading, in one thread.
"""

import difflib
import math
import re
from collections.abc import Mapping as Environ
from typing import Any

from msgspec import UNSET, Struct, field, inspect

from fastpath.settings.problem import Path, Problem, format_path
from fastpath.settings.secret import Secret
from fastpath.settings.yaml_tree import Mapping, Node, Place, Scalar, Sequence, kind_of

_VARIABLE = re.compile(r"\$(\$?)\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INT = re.compile(r"[-+]?[0-9]{1,20}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ARTICLES = {"int": "a number", "float": "a number", "bool": "true or false", "list": "a list", "mapping": "a mapping"}


class Walk(Struct):
    """One reading of a tree. `value_of` returns plain dicts, lists and scalars, or UNSET where nothing was right.

    Collects `problems`; `places` maps each path to where it stands; `hidden` are the paths whose value came from the
    environment and must not be shown.
    """

    environ: Environ[str, str]
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, Place] = field(default_factory=dict)
    hidden: set[Path] = field(default_factory=set)

    def report(self, place: Place, path: Path, message: str) -> None:
        """Adds one mistake."""
        self.problems.append(Problem(place.line, place.column, format_path(path), message))

    def value_of(self, node: Node, wanted: inspect.Type, path: Path = ()) -> Any:
        """The value of `node` as `wanted` asks for it."""
        self.places[path] = node.place
        wanted, extra = _unwrap(wanted)
        if isinstance(wanted, inspect.UnionType):
            if kind_of(node) == "null":
                return None
            wanted, inner = _unwrap(next(t for t in wanted.types if not isinstance(t, inspect.NoneType)))
            extra = {**inner, **extra}
        if isinstance(wanted, inspect.StructType):
            return self._mapping(node, wanted, path)
        if isinstance(wanted, inspect.VarTupleType):
            return self._list(node, wanted, path)
        return self._scalar(node, wanted, extra, path)

    def _mapping(self, node: Node, wanted: inspect.StructType, path: Path) -> Any:
        if not isinstance(node, Mapping):
            self.report(node.place, path, _mismatch(node, "a mapping of keys to values"))
            return UNSET
        fields = {field.encode_name: field for field in wanted.fields}
        value: dict[str, Any] = {}
        seen: set[str] = set()
        for key, item in node.pairs:
            name = self._key(key, fields, seen, path)
            if name is not None:
                seen.add(name)
                value[name] = self.value_of(item, fields[name].type, (*path, name))
        for name, one in fields.items():
            if one.required and name not in seen:
                self.report(node.place, (*path, name), "is missing and has no default: add it")
        return {name: item for name, item in value.items() if item is not UNSET}

    def _key(self, key: Node, fields: Environ[str, Any], seen: set[str], path: Path) -> str | None:
        """The field that `key` names; None after reporting why there is none."""
        if not isinstance(key, Scalar):
            self.report(key.place, path, "a key must be a plain word")
        elif key.text in seen:
            self.report(key.place, (*path, key.text), "is given twice: remove one, they would overwrite each other")
        elif key.text in fields:
            return key.text
        elif key.text == "<<":
            self.report(key.place, path, "merge keys (<<) are not supported: write the keys out, or use an alias")
        elif not _NAME.fullmatch(key.text) or len(key.text) > 40:  # not shown: it may be a secret after a bad colon
            self.report(key.place, path, f"this key is not known here ({_list(fields)}): a space after its colon?")
        else:
            self.report(key.place, (*path, key.text), f"is not a known key: {_suggest(key.text, fields)}")
        return None

    def _list(self, node: Node, wanted: inspect.VarTupleType, path: Path) -> Any:
        if not isinstance(node, Sequence):
            self.report(node.place, path, _mismatch(node, "a list: [a, b], or lines that begin with -"))
            return UNSET
        if len(node.items) < (wanted.min_length or 0):
            self.report(node.place, path, "must not be empty: give at least one")
        return [self.value_of(item, wanted.item_type, (*path, i)) for i, item in enumerate(node.items)]

    def _scalar(self, node: Node, wanted: inspect.Type, extra: Environ[str, Any], path: Path) -> Any:
        if not isinstance(node, Scalar):
            self.report(node.place, path, _mismatch(node, _describe(wanted)))
            return UNSET
        kind, text = kind_of(node), node.text
        if "${" in text:
            kind, text = self._substitute(node, path)
            if kind == "unknown":
                return UNSET
        value, problem = _convert(kind, text, wanted, extra)
        if problem is not None:
            self.report(node.place, path, problem)
            return UNSET
        return value

    def _substitute(self, node: Scalar, path: Path) -> tuple[str, str]:
        """Kind and text after putting in the environment; kind `unknown` after reporting what is missing."""
        failed = False

        def put_in(match: re.Match[str]) -> str:
            nonlocal failed
            escape, name, brace = match.groups()
            if escape:
                return match[0][1:]
            problem = _check_variable(name, brace, self.environ)
            if problem is not None:
                failed = True
                self.report(node.place, path, problem)
                return ""
            self.hidden.add(path)
            return self.environ[name]

        text = _VARIABLE.sub(put_in, node.text)
        if failed:
            return "unknown", ""
        return ("environment" if path in self.hidden else kind_of(node)), text


def _check_variable(name: str, brace: str, environ: Environ[str, str]) -> str | None:
    if not brace or not _NAME.fullmatch(name):
        return "holds ${ without a variable's name and }: write ${NAME}, or $${ for the characters themselves"
    if name not in environ:
        return f"needs the environment variable {name}, which is not set: set it where the gateway starts"
    return None


def _unwrap(wanted: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    extra: dict[str, Any] = {}
    while isinstance(wanted, inspect.Metadata):
        extra = {**(wanted.extra or {}), **extra}
        wanted = wanted.type
    return wanted, extra


def _convert(kind: str, text: str, wanted: inspect.Type, extra: Environ[str, Any]) -> tuple[Any, str | None]:
    """Value and None, or UNSET and what is wrong."""
    if kind == "null":
        return UNSET, f"is empty: give {_describe(wanted)}, or remove the key"
    if isinstance(wanted, inspect.BoolType):
        return _to_bool(kind, text)
    if isinstance(wanted, inspect.IntType | inspect.FloatType):
        return _to_number(kind, text, wanted)
    if kind not in ("text", "environment"):
        return UNSET, f"must be text, not {_ARTICLES[kind]}: put it in quotes"
    if isinstance(wanted, inspect.LiteralType):
        return _to_choice(text, wanted)
    return _to_text(text, wanted, extra)


def _to_bool(kind: str, text: str) -> tuple[Any, str | None]:
    if kind in ("bool", "environment") and text.lower() in ("true", "false"):
        return text.lower() == "true", None
    return UNSET, "must be true or false, without quotes"


def _to_number(kind: str, text: str, wanted: inspect.IntType | inspect.FloatType) -> tuple[Any, str | None]:
    whole = isinstance(wanted, inspect.IntType)
    if not (_INT if whole else _FLOAT).fullmatch(text):
        return UNSET, f"must be {_describe(wanted)}"
    if kind == "text":
        return UNSET, f"must be {_describe(wanted)}, without quotes"
    number = int(text) if whole else float(text)
    if not math.isfinite(number) or not _within(number, wanted):
        return UNSET, f"must be {_describe(wanted)}"
    return number, None


def _within(number: float, wanted: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (wanted.ge is None or number >= wanted.ge)
        and (wanted.gt is None or number > wanted.gt)
        and (wanted.le is None or number <= wanted.le)
        and (wanted.lt is None or number < wanted.lt)
    )


def _to_choice(text: str, wanted: inspect.LiteralType) -> tuple[Any, str | None]:
    if text in wanted.values:
        return text, None
    return UNSET, f"must be {_describe(wanted)}"


def _to_text(text: str, wanted: inspect.Type, extra: Environ[str, Any]) -> tuple[Any, str | None]:
    if isinstance(wanted, inspect.StrType) and len(text) < (wanted.min_length or 0):
        return UNSET, "must not be empty"
    check = extra.get("check")
    problem = check(text) if check is not None else None
    if problem is not None:
        return UNSET, problem
    return (Secret(text) if isinstance(wanted, inspect.CustomType) else text), None


def _describe(wanted: inspect.Type) -> str:
    """What a value of `wanted` is, in words."""
    if isinstance(wanted, inspect.IntType | inspect.FloatType):
        return ("a whole number" if isinstance(wanted, inspect.IntType) else "a number") + _bounds(wanted)
    if isinstance(wanted, inspect.BoolType):
        return "true or false"
    if isinstance(wanted, inspect.LiteralType):
        values = [str(value) for value in wanted.values]
        return " or ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
    return "text"


def _bounds(wanted: inspect.IntType | inspect.FloatType) -> str:
    if wanted.gt is not None:
        return f" above {wanted.gt:g} and at most {wanted.le}" if wanted.le is not None else f" above {wanted.gt:g}"
    return f" from {wanted.ge} to {wanted.le}" if wanted.ge is not None and wanted.le is not None else ""


def _mismatch(node: Node, wanted: str) -> str:
    kind = kind_of(node)
    if kind == "null":
        return f"is empty: it must be {wanted}, or leave the key out"
    return f"must be {wanted}, not {_ARTICLES.get(kind, 'text')}"


def _list(names: Environ[str, Any]) -> str:
    return ", ".join(names)


def _suggest(name: str, known: Environ[str, Any]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known here are {_list(known)}"
