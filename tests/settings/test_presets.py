"""Presets: what they fill, what they do not, and that another provider is six lines."""

from importlib import resources
from typing import Any

import msgspec
import pytest

from fastpath.money.price_file import read_shipped
from fastpath.settings import Endpoint
from fastpath.settings.file import SettingsError, load
from fastpath.settings.preset import read_presets, shipped_presets

PRESETS = shipped_presets()


def parse(*endpoints: str, environ: dict[str, str] | None = None) -> Any:
    text = "models:\n  - name: m\n    endpoints:\n" + "".join(f"      - {{{endpoint}}}\n" for endpoint in endpoints)
    return load(text, environ or {})


def problems(*endpoints: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse(*endpoints)
    return [f"{problem.path} {problem.message}" for problem in caught.value.problems]


def test_many_providers_are_known_and_all_by_https() -> None:
    assert len([preset for preset in PRESETS.values() if preset.dialect == "openai"]) >= 12
    assert all(preset.url.startswith("https://") for preset in PRESETS.values())
    assert {"deepseek", "qwen", "moonshot", "zhipu", "siliconflow", "groq", "mistral", "openrouter"} <= PRESETS.keys()


def test_each_is_six_lines_at_most() -> None:
    text = resources.files("fastpath.settings").joinpath("presets.toml").read_text()
    for table in text.split("\n[")[1:]:
        assert len([line for line in table.splitlines() if line]) <= 6, table


def test_providers_are_those_of_the_price_list_where_it_has_them() -> None:
    priced = {row.provider for row in read_shipped().rows}
    named = {preset.provider for preset in PRESETS.values()}
    assert priced - {"google"} <= named


NEW = """
[newcomer]
title = "Newcomer"
url = "https://api.newcomer.example/v1"
key = "NEWCOMER_API_KEY"
provider = "newcomer"
lacks = ["stream_options"]
"""


def test_a_new_provider_is_six_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(NEW.strip().splitlines()) == 6
    monkeypatch.setattr("fastpath.settings.endpoint.shipped_presets", lambda: read_presets(NEW))
    endpoint = Endpoint(preset="newcomer")
    assert (endpoint.url, endpoint.provider) == ("https://api.newcomer.example/v1", "newcomer")


@pytest.mark.parametrize(
    "text",
    ['[a]\ntitle="A"', NEW.replace("https", "ftp"), NEW + "more = 1", NEW.replace("stream_options", "tools"), "["],
)
def test_a_mistake_in_the_file_is_found(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_presets(text)


def test_a_preset_fills_what_was_not_given() -> None:
    endpoint = Endpoint(preset="anthropic")
    assert (endpoint.url, endpoint.dialect, endpoint.provider, endpoint.api_key) == (
        "https://api.anthropic.com/v1", "anthropic", "anthropic", None,
    )  # fmt: skip
    assert endpoint.label == "api.anthropic.com:443"


def test_what_was_given_stays() -> None:
    endpoint = parse('preset: deepseek, url: "http://127.0.0.1:9/v1", provider: me').models[0].endpoints[0]
    assert (endpoint.url, endpoint.provider) == ("http://127.0.0.1:9/v1", "me")


def test_an_endpoint_that_leads_nowhere() -> None:
    assert problems("tier: L1")[0].startswith("models[0].endpoints[0].url is missing: give the base URL")
    assert problems("preset: deepsek") == ["models[0].endpoints[0].preset is no preset: did you mean deepseek?"]
    with pytest.raises(ValueError, match="url"):
        Endpoint()
    with pytest.raises(msgspec.ValidationError, match="url"):
        msgspec.convert({"preset": "nobody"}, Endpoint)


def test_the_same_preset_twice_is_the_same_endpoint() -> None:
    assert "is the same endpoint as" in problems("preset: groq", "preset: groq")[0]


def test_azure_by_deployments_needs_one() -> None:
    assert "needs the deployment's name" in problems('dialect: azure, url: "https://n.example", api_version: "1"')[0]
    assert "is Azure's alone" in problems('url: "https://n.example", api_version: "1"')[0]
