"""What this node's supervisor last said of its models: those of the settings file, and how endpoints are.

Owns that memory and the ids of what the file owns, which are made of names and so the same after every restart. Does
not own the form (`fastpath.liaison`). One loop; nothing is said before a supervisor asks, or where there is none.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from controlplane.registry.published import ACTIVE
from controlplane.registry.shapes import EndpointView, ModelView
from fastpath.liaison import EndpointSeen, ModelSeen, SceneShown


def file_id(*names: str) -> str:
    """The id of what the settings file owns."""
    return blake2b("\0".join(names).encode(), digest_size=16, person=b"fastpath-file").hexdigest()


class Scene:
    """now: Unix seconds; monotonic: the node's clock, which all its processes share."""

    def __init__(self, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._now = now
        self._monotonic = monotonic
        self._shown = SceneShown()
        self._states: dict[tuple[str, str], EndpointSeen] = {}

    def show(self, shown: SceneShown) -> None:
        """Takes what the supervisor says."""
        self._shown = shown
        self._states = {(one.model, one.endpoint): one for one in shown.states}

    @property
    def problem(self) -> str:
        """Why the node refused what was last published; "" when it did not."""
        return self._shown.problem

    @property
    def models(self) -> tuple[ModelSeen, ...]:
        """Those of the settings file."""
        return self._shown.models

    def owns(self, name: str) -> bool:
        """Whether the settings file has a model of this name."""
        return any(model.name == name for model in self._shown.models)

    def settings(self) -> dict[str, Any]:
        """What of the file published models are judged beside, plain."""
        shown = self._shown
        values: dict[str, Any] = {
            "models": [{"name": model.name, "endpoints": model.endpoints} for model in shown.models],
            "control": {},
        }
        if shown.data_class is not None:
            values["data_class"] = shown.data_class
        if shown.local_networks:
            values["local_networks"] = list(shown.local_networks)
        return values

    def health(self, model: str, endpoint: str) -> tuple[str, str, int | None]:
        """State, message, and since when (Unix seconds)."""
        seen = self._states.get((model, endpoint))
        if seen is None:
            return "Unknown", "nobody watches it", None
        since = round(self._now() - (self._monotonic() - seen.since)) if seen.since else None
        return seen.state, seen.message, since

    def model_views(self) -> list[ModelView]:
        """The file's models."""
        return [
            ModelView(
                id=file_id("model", model.name),
                name=model.name,
                owner="file",
                endpoints=len(model.endpoints),
                fields={},
                created_at=None,
                updated_at=None,
            )
            for model in self._shown.models
        ]

    def endpoint_views(self) -> list[EndpointView]:
        """The file's endpoints."""
        return [self._endpoint(model.name, each) for model in self._shown.models for each in model.endpoints]

    def _endpoint(self, model: str, said: dict[str, Any]) -> EndpointView:
        name = str(said["name"])
        state, message, since = self.health(model, name)
        return EndpointView(
            id=file_id("endpoint", model, name),
            model_id=file_id("model", model),
            model=model,
            name=name,
            owner="file",
            state=ACTIVE,
            has_key=bool(said.get("has_key")),
            health=state,  # type: ignore[arg-type]  # one of `backends.watch.report.State`, which this plane cannot name
            message=message,
            since=since,
            fields={key: value for key, value in said.items() if key not in ("name", "has_key")},
            created_at=None,
            updated_at=None,
        )
