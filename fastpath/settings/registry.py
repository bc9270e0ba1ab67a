"""Models that the control plane published, beside those of the settings file.

Owns their shape in a roster, how they join the file's, and what is wrong with both together. What the file names wins.
Does not own where they come from. Pure; every Struct is frozen.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, ValidationError

from fastpath.settings.endpoint import Endpoint
from fastpath.settings.findings import Finding
from fastpath.settings.model import Model
from fastpath.settings.rules import find_conflicts
from fastpath.settings.schema import Settings
from fastpath.settings.secret import reveal_hook, secret_hook

_NOBODY: Final = Endpoint(url="http://127.0.0.1")


class Registered(Struct, frozen=True, array_like=True):
    """A published model. says: fields of `Model` that were given, but for its name and endpoints, of which there may be
    none: the last one was removed or drains."""

    name: str
    says: dict[str, Any] = {}
    endpoints: tuple[Endpoint, ...] = ()


def join_models(settings: Settings, published: tuple[Registered, ...]) -> Settings:
    """The settings with published models beside those of the file. One that this version cannot read is left out:
    `find_faults` tells of it."""
    taken = {model.name for model in settings.models}
    made = [_model(one, settings) for one in published if one.name not in taken]
    found = [model for model in made if isinstance(model, Model)]
    return msgspec.structs.replace(settings, models=(*settings.models, *found)) if found else settings


def find_clashes(settings: Settings, published: tuple[Registered, ...]) -> Iterator[str]:
    """A sentence for each published model that is not used, because the file has one of its name."""
    taken = {model.name for model in settings.models}
    for one in published:
        if one.name in taken:
            yield (
                f"model {one.name} of the admin API and its endpoints are not used: the settings file has a model of "
                "that name; rename one"
            )


def find_faults(settings: Settings, published: tuple[Registered, ...]) -> list[str]:
    """What is wrong with the models of both together, a sentence each; the settings alone are right."""
    made = [(one.name, _model(one, settings)) for one in published]
    unread = [
        f"model {name} cannot be read ({model}): use one version of fastpath, or say it anew"
        for name, model in made
        if isinstance(model, ValidationError)
    ]
    joined = join_models(settings, published)
    if joined is settings:
        return unread
    return unread + told_faults(msgspec.to_builtins(joined, enc_hook=reveal_hook))


def told_faults(values: Mapping[str, Any]) -> list[str]:
    """Conflicts between plain settings, told by the names of models and endpoints: what an administrator calls them."""
    plain = dict(values)
    return [_tell(plain, finding) for finding in find_conflicts(plain, set())]


def _model(one: Registered, settings: Settings) -> Model | ValidationError:
    # A model of a file has an endpoint, which the type says; of a published one the last may be gone.
    says = {name: value for name, value in one.says.items() if name in Model.__struct_fields__}
    if isinstance(given := says.get("timeouts"), dict):
        says["timeouts"] = {**msgspec.to_builtins(settings.timeouts), **given}
    try:
        model = msgspec.convert({**says, "name": one.name, "endpoints": (_NOBODY,)}, Model, dec_hook=secret_hook)
    except ValidationError as error:
        return error
    return msgspec.structs.replace(model, endpoints=one.endpoints)


def _tell(values: dict[str, Any], finding: Finding) -> str:
    path, message = finding
    words: list[str] = []
    at: Any = values
    for part in path:
        try:
            at = at[part]
        except (KeyError, IndexError, TypeError):
            at = None
        if isinstance(part, int):
            name = at.get("name") if isinstance(at, dict) else None
            kind = words.pop().removesuffix("s") if words else ""
            words.append(f"{kind} {name or part + 1}:" if isinstance(at, dict) else f"{kind}s[{part}]")
        else:
            words.append(str(part))
    return f"{' '.join(words)} {message}"
