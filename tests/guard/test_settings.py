"""What a settings file must say of classes and residency before a gateway starts with it."""

import pytest

from fastpath.settings import Settings
from fastpath.settings.file import load
from fastpath.settings.problem import SettingsError

HASH = f"b2:01234567:{'ab' * 32}"
HOME = '{url: "http://127.0.0.1:9001/v1", tier: L1, region: eu}'
CLOUD = '{url: "https://api.example.com/v1", region: us}'


def read(text: str, *endpoints: str) -> Settings:
    return load(f"models: [{{name: llama, endpoints: [{', '.join(endpoints or (HOME, CLOUD))}]}}]\n{text}", {})


def refused(text: str, *endpoints: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(text, *endpoints)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def key(more: str = "") -> str:
    return f"keys: [{{name: laptop, hash: '{HASH}'{more}}}]\n"


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("", "of a caller"),
        (key(), "of a key"),
        (key(", tenant: acme") + "tenants: [{name: acme}]", "of a key"),
        (key(", data_class: P1") + "control: {}", "of a tenant of the admin API"),
    ],
)
def test_both_kinds_of_places_and_no_word(text: str, who: str) -> None:
    (said,) = refused(text)
    assert said.startswith("data_class: is missing")
    assert who in said
    assert "`data_class: P0`" in said


@pytest.mark.parametrize(
    "text",
    [
        "data_class: P0",
        "data_class: P2",
        key(", data_class: P2"),
        key(", tenant: acme") + "tenants: [{name: acme, data_class: P1}]",
        key() + "control: {}\ndata_class: P1",
    ],
)
def test_a_word_for_every_caller(text: str) -> None:
    assert read(text).models


@pytest.mark.parametrize("endpoint", [HOME, CLOUD])
def test_one_kind_of_places_needs_no_word(endpoint: str) -> None:
    assert read("", endpoint).data_class is None


def test_a_region_is_one_of_an_endpoint() -> None:
    said = refused("data_class: P2\ntenants: [{name: acme, residency: {regions: [eu, eux]}}]")
    assert said == ["tenants[0].residency.regions[1]: is the region of no endpoint: did you mean eu?"]


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "169.254.169.254"])
def test_a_local_endpoint_is_written_with_a_local_address(host: str) -> None:
    (said,) = refused("", f'{{url: "http://{host}/v1", tier: L1}}')
    assert said.startswith("models[0].endpoints[0].url: is in none of local_networks")
    (said,) = refused("local_networks: [10.0.0.0/8]", HOME)
    assert "local_networks" in said


def test_local_networks_may_hold_public_ones() -> None:
    assert read("local_networks: [203.0.113.0/24]", '{url: "http://203.0.113.7/v1", tier: L1}').models
