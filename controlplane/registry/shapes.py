"""What the admin API takes and shows of models and endpoints. Fields are those of the settings file.

Owns the Structs of bodies and answers; no view holds a key. Times are Unix seconds. Values are judged as those of a
file are (`judge`), so the bounds here are only what keeps nonsense out of the document.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from controlplane.identity.shapes import Name
from controlplane.ids import ObjectId
from fastpath.settings import (
    Capability,
    DataClass,
    Limit,
    Load,
    ModelClamp,
    ModelPrice,
    Picker,
    Probe,
    ScenarioName,
    StrategyName,
    Tier,
)

ModelText = Annotated[str, Meta(min_length=1, max_length=256, description="Name that callers use. `*`: all others.")]
Text = Annotated[str, Meta(min_length=1, max_length=2048)] | UnsetType | None
Names = Annotated[tuple[str, ...], Meta(max_length=256)] | UnsetType | None
KeyValue = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=8192,
        description="Key sent to this endpoint. It is stored sealed and never shown; null takes it away.",
    ),
]
State = Annotated[
    Literal["active", "draining"],
    Meta(description="draining: it gets no new requests, those that run there end as they would have."),
]
#: What only an admin says of an endpoint: it decides whose data may go there.
TRUSTED: Final = ("tier", "region")
#: What only an admin says of a model: the class of its data, and what it costs.
GOVERNED: Final = ("data_class", "price", "markup_ppm")


class ModelFields(Struct, kw_only=True):
    """As under `models` in a settings file; null or left out: as it is there."""

    picker: Picker | UnsetType | None = UNSET
    fallbacks: Names = UNSET
    substitutes: Names = UNSET
    timeouts: Annotated[dict[str, float | None], Meta(max_length=16)] | UnsetType | None = UNSET
    limits: Annotated[tuple[Limit, ...], Meta(max_length=64)] | UnsetType | None = UNSET
    price: ModelPrice | UnsetType | None = UNSET
    markup_ppm: int | UnsetType | None = UNSET
    data_class: DataClass | UnsetType | None = UNSET
    clamp: ModelClamp | UnsetType | None = UNSET
    strategy: StrategyName | UnsetType | None = UNSET
    scenario: ScenarioName | UnsetType | None = UNSET
    pin: Text = UNSET


class ModelDraft(ModelFields, forbid_unknown_fields=True, kw_only=True):
    """A new model."""

    name: ModelText


class ModelEdits(ModelFields, forbid_unknown_fields=True, kw_only=True):
    """Changes to a model. What is not sent stays as it is; null takes it away."""

    name: ModelText | UnsetType = UNSET


class EndpointFields(Struct, kw_only=True):
    """As under `endpoints` of a model in a settings file; null or left out: as it is there."""

    url: Text = UNSET
    preset: Text = UNSET
    model: Text = UNSET
    tier: Tier | UnsetType | None = UNSET
    weight: int | UnsetType | None = UNSET
    max_connections: int | UnsetType | None = UNSET
    dialect: Literal["openai", "azure", "anthropic", "gemini", "ollama"] | UnsetType | None = UNSET
    api_version: Text = UNSET
    paths: Names = UNSET
    provider: Text = UNSET
    region: Text = UNSET
    chip: Text = UNSET
    version: Text = UNSET
    quality: float | UnsetType | None = UNSET
    context: int | UnsetType | None = UNSET
    supports: tuple[Capability, ...] | UnsetType | None = UNSET
    languages: Names = UNSET
    price: ModelPrice | UnsetType | None = UNSET
    ttft: float | UnsetType | None = UNSET
    throughput: float | UnsetType | None = UNSET
    probe: Probe | UnsetType | None = UNSET
    load: Load | UnsetType | None = UNSET


class EndpointDraft(EndpointFields, forbid_unknown_fields=True, kw_only=True):
    """A new endpoint of a model."""

    name: Name
    model_id: ObjectId
    api_key: KeyValue | None = None
    state: State = "active"


class EndpointEdits(EndpointFields, forbid_unknown_fields=True, kw_only=True):
    """Changes to an endpoint. What is not sent stays as it is; null takes it away."""

    name: Name | UnsetType = UNSET
    api_key: KeyValue | UnsetType | None = UNSET
    state: State | UnsetType = UNSET


class ModelView(Struct, kw_only=True, frozen=True):
    """A model. `fields`: what was said of it, as under `models` in a settings file."""

    object: Literal["model"] = "model"
    id: ObjectId
    name: str
    owner: Annotated[str, Meta(description="`api`, or `file`: then it is changed in the settings file.")]
    shadowed: Annotated[bool, Meta(description="Not used: the settings file has a model of this name.")] = False
    endpoints: Annotated[int, Meta(description="How many it has.")]
    fields: dict[str, Any]
    created_at: int | None
    updated_at: int | None


class EndpointView(Struct, kw_only=True, frozen=True):
    """An endpoint. `fields`: what was said of it, as under `endpoints` in a settings file; never its key."""

    object: Literal["endpoint"] = "endpoint"
    id: ObjectId
    model_id: ObjectId
    model: str
    name: str
    owner: Annotated[str, Meta(description="`api`, or `file`: then it is changed in the settings file.")]
    state: State
    has_key: Annotated[bool, Meta(description="Whether a key is sent to it.")]
    health: Annotated[
        Literal["Unknown", "Running", "Failed"],
        Meta(description="By its probes, on this node. Unknown: it is not probed, or was not yet."),
    ]
    message: Annotated[str, Meta(description="Why its last answer was not good, or why it is not in force.")]
    since: Annotated[int | None, Meta(description="When its health last changed.")]
    fields: dict[str, Any]
    created_at: int | None
    updated_at: int | None


def said_by(body: Struct, kind: type[Struct]) -> dict[str, Any]:
    """The fields of a draft or of edits that were sent, plain; None stays: it takes one away."""
    values = {name: getattr(body, name) for name in kind.__struct_fields__}
    return {name: plain(value) for name, value in values.items() if value is not UNSET}


def plain(value: Any) -> Any:
    """As it is stored: what is None within it is left out."""
    return _without_none(msgspec.to_builtins(value))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value
