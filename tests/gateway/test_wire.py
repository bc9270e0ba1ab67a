"""An endpoint's settings as its backend needs them: Azure's places, presets' lacks, the bound of an answer."""

import pytest

from backends.base import EndpointSpec
from fastpath.money.catalog import open_catalog
from fastpath.route.wire import spoken_paths, spoken_spec
from fastpath.settings import Endpoint

CATALOG = open_catalog(None)
NOW = 1_770_000_000.0


def spec_of(endpoint: Endpoint, model: str = "any") -> EndpointSpec:
    plain = EndpointSpec("e", endpoint.url, endpoint.model)
    return spoken_spec(plain, endpoint, model, CATALOG, NOW)


def test_a_plain_endpoint_is_left_alone() -> None:
    endpoint = Endpoint(url="http://127.0.0.1:1/v1", model="claude-opus-4-5", provider="anthropic")
    assert spec_of(endpoint) == EndpointSpec("e", "http://127.0.0.1:1/v1", "claude-opus-4-5")
    assert spoken_paths(endpoint) is None


@pytest.mark.parametrize(
    ("endpoint", "model", "most"),
    [
        (Endpoint(preset="anthropic", model="claude-opus-4-5"), "any", 64_000),
        (Endpoint(preset="anthropic"), "claude-opus-4-1", 32_000),
        (Endpoint(preset="anthropic"), "nobody-lists-it", 0),
        (Endpoint(preset="anthropic", provider="nobody", model="claude-opus-4-5"), "any", 0),
    ],
)
def test_the_bound_of_an_answer_is_the_price_lists(endpoint: Endpoint, model: str, most: int) -> None:
    found = spec_of(endpoint, model)
    assert (found.dialect, found.auth, found.max_output) == ("anthropic", "x-api-key", most)


def test_what_a_preset_lacks_goes_with_it() -> None:
    assert spec_of(Endpoint(preset="mistral")).lacks == {"max_completion_tokens", "stream_options"}
    assert spec_of(Endpoint(preset="groq")).lacks == frozenset()


def test_azure() -> None:
    v1 = spec_of(Endpoint(url="https://n.openai.azure.com/openai/v1", dialect="azure", model="d"))
    assert (v1.url, v1.auth, v1.query) == ("https://n.openai.azure.com/openai/v1", "api-key", "")
    endpoint = Endpoint(url="https://n.openai.azure.com/", dialect="azure", model="a/b?c", api_version="2024-10-21")
    older = spec_of(endpoint)
    assert older.url == "https://n.openai.azure.com/openai/deployments/a%2Fb%3Fc"
    assert older.query == "?api-version=2024-10-21"


def test_paths() -> None:
    azure = Endpoint(url="https://n.example", dialect="azure", model="d", api_version="1")
    assert "/v1/responses" not in (spoken_paths(azure) or ())
    both = Endpoint(preset="anthropic", paths=("/v1/messages", "/v1/embeddings"))
    assert spoken_paths(both) == {"/v1/messages"}
