"""What the settings of an endpoint at a provider must be together: a place, a preset that exists, Azure's parts.

A rule like those of `rules`. Pure.
"""

from collections.abc import Iterable, Iterator

from fastpath.settings.findings import Finding, Values, suggest
from fastpath.settings.preset import shipped_presets
from fastpath.settings.problem import Path


def find_provider_faults(endpoints: Iterable[tuple[Path, Values]]) -> Iterator[Finding]:
    """Endpoints that lead nowhere."""
    for path, endpoint in endpoints:
        yield from _find_no_place(path, endpoint)
        yield from _find_azure_faults(path, endpoint)


def url_of(endpoint: Values) -> str | None:
    """The URL that was given, else the preset's."""
    known = shipped_presets().get(str(endpoint.get("preset")))
    url = endpoint.get("url") or (known.url if known is not None else None)
    return url if isinstance(url, str) else None


def _find_no_place(path: Path, endpoint: Values) -> Iterator[Finding]:
    name = endpoint.get("preset")
    if name is not None and name not in shipped_presets():
        yield (*path, "preset"), f"is no preset: {suggest(str(name), list(shipped_presets()), 'presets')}"
    elif name is None and "url" not in endpoint:
        yield (*path, "url"), "is missing: give the base URL of the endpoint's API, or a preset (`fastpath presets`)"


def _find_azure_faults(path: Path, endpoint: Values) -> Iterator[Finding]:
    if endpoint.get("api_version") is None:
        return
    if endpoint.get("dialect") != "azure":
        yield (*path, "api_version"), "is Azure's alone: set dialect to azure, or remove it"
    elif not endpoint.get("model"):
        yield (*path, "model"), "is missing: Azure's API by deployments needs the deployment's name here"
