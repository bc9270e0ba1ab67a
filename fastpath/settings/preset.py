"""Presets: what is known of providers that most people mean, so that an endpoint is two lines.

Owns the form of `presets.toml` and its look-up. Does not own what a field means (`endpoint`) or what is done about a
field that a provider refuses (`backends.dialects.likeness`). Pure but for reading its own file.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

import msgspec
from msgspec import Struct

from fastpath.settings.syntax import check_url


class Preset(Struct, frozen=True, forbid_unknown_fields=True):
    """One provider. key: environment variable that its documents name; lacks: request fields that it refuses."""

    title: str
    url: str
    key: str
    provider: str | None = None
    dialect: Literal["openai", "anthropic", "gemini"] = "openai"
    lacks: tuple[Literal["max_completion_tokens", "stream_options"], ...] = ()

    def __post_init__(self) -> None:
        fault = check_url(self.url)
        if fault is not None:
            raise ValueError(f"url {fault}")


def read_presets(text: str) -> Mapping[str, Preset]:
    """The presets of a file by name, in its order. Raises ValueError (also of TOML and msgspec) with its mistakes."""
    return MappingProxyType(msgspec.convert(tomllib.loads(text), dict[str, Preset]))


@cache
def shipped_presets() -> Mapping[str, Preset]:
    """Those that come with the gateway."""
    return read_presets(resources.files("fastpath.settings").joinpath("presets.toml").read_text(encoding="utf-8"))
