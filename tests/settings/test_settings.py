"""The settings tree itself: the pipe, the schema, the page, and that nothing shows a secret."""

import copy
import importlib.util
import json
import pickle
from pathlib import Path
from types import ModuleType

import jsonschema
import msgspec
import pytest
import yaml

from fastpath.settings import (
    Settings,
    decode_settings,
    encode_settings,
    settings_schema,
    show_settings,
    state_folder,
)
from fastpath.settings.file import load
from fastpath.settings.secret import Secret

CANARY = "sk-canary-7f3a"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(example: str) -> Settings:
    return load(example, {"UPSTREAM_KEY": CANARY})


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_doc", ROOT / "tools" / "settings_doc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_cross_the_pipe_whole(settings: Settings) -> None:
    copied = decode_settings(encode_settings(settings))
    assert copied == settings
    key = copied.models[0].endpoints[0].api_key
    assert key is not None
    assert key.reveal() == CANARY


def test_the_pipe_refuses_what_is_not_settings() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_settings(msgspec.msgpack.encode({"wrokers": 1}))


def test_nothing_that_a_person_reads_shows_a_secret(settings: Settings) -> None:
    assert CANARY not in f"{settings!r} {settings} {settings.models} {show_settings(settings)!r}"
    assert json.loads(show_settings(settings))["models"][0]["endpoints"][0]["api_key"] == "***"
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>20}".format, "{!r:.99}".format, lambda s: f"{s}", ascii])
def test_a_secret_shows_a_mask(show) -> None:
    text = show(Secret(CANARY))
    assert "***" in text
    assert CANARY not in text


def test_a_secret_keeps_its_value_to_itself() -> None:
    secret = Secret(CANARY)
    assert (secret.reveal(), secret == Secret(CANARY), secret == Secret("other")) == (CANARY, True, False)
    assert secret != CANARY
    assert len({secret, Secret(CANARY), Secret("other")}) == 2
    assert copy.deepcopy([secret])[0] == secret
    assert not hasattr(secret, "__dict__")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret, protocol)


def test_settings_do_not_change(settings: Settings) -> None:
    with pytest.raises(AttributeError):
        settings.workers = 3  # type: ignore[misc]  # that it cannot be assigned is what is tested


def test_one_upstream_serves_every_model_name() -> None:
    (model,) = Settings.for_upstream("http://127.0.0.1:1/v1").models
    assert (model.name, model.endpoints[0].url, model.endpoints[0].model) == ("*", "http://127.0.0.1:1/v1", None)


@pytest.mark.parametrize(
    ("configured", "environ", "uid", "folder"),
    [
        (None, {}, 0, "/var/lib/fastpath"),
        (None, {"HOME": "/h"}, 5, "/h/.local/state/fastpath"),
        (None, {"HOME": "/h", "XDG_STATE_HOME": "/x"}, 5, "/x/fastpath"),
        (None, {"HOME": "/h", "XDG_STATE_HOME": ""}, 5, "/h/.local/state/fastpath"),
        ("/s", {"HOME": "/h"}, 0, "/s"),
        ("~/s", {"HOME": "/h"}, 5, "/h/s"),
    ],
)
def test_the_state_folder(configured: str | None, environ: dict[str, str], uid: int, folder: str) -> None:
    assert state_folder(configured, environ, uid) == Path(folder)


def test_the_schema_takes_the_example(template: str, example: str) -> None:
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(example), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(template), schema)


@pytest.mark.parametrize(
    "bad",
    [
        {"wrokers": 1},
        {"workers": 0},
        {"workers": "2"},
        {"listen": {"port": 65536}},
        {"listen": {"door": "rsgi"}},
        {"timeouts": {"idle": 0}},
        {"models": [{"name": "m"}]},
        {"models": [{"name": "m", "endpoints": []}]},
        {"models": [{"name": "m", "endpoints": [{"url": "ftp://a"}]}]},
        {"models": [{"name": "m", "endpoints": [{"url": "http://a", "api_key": 5}]}]},
    ],
)
def test_the_schema_refuses_what_check_refuses(bad: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, settings_schema())


def test_the_schema_allows_a_variable_where_a_text_goes() -> None:
    jsonschema.validate({"models": [{"name": "m", "endpoints": [{"url": "${URL}"}]}]}, settings_schema())


def test_the_schema_carries_descriptions_and_defaults() -> None:
    port = settings_schema()["$defs"]["Listen"]["properties"]["port"]
    assert port["default"] == 8340
    assert "callers" in port["description"]


def test_every_setting_is_documented_and_every_number_has_a_unit(page: ModuleType) -> None:
    assert page.undocumented() == []
    for name, struct in settings_schema()["$defs"].items():
        for field, schema in struct["properties"].items():
            assert len(schema.get("description", "")) >= 15, f"{name}.{field}"


def test_the_reference_page_is_what_the_code_says(page: ModuleType) -> None:
    assert page.PAGE.read_text() == page.render(), "run python -m tools.settings_doc"
    text = page.PAGE.read_text()
    assert text.count("\n### ") == sum(len(s["properties"]) for s in settings_schema()["$defs"].values())


def test_a_field_without_words_is_found(page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(msgspec.Struct):
        limit: int = 1

    monkeypatch.setattr(page, "Settings", Bare)
    assert page.undocumented() == ["limit"]
