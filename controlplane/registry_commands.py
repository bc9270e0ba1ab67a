"""Commands about models and endpoints: `fastpath models ...` and `fastpath endpoints ...`. Clients of the admin API.

Owns flags and messages; exit codes as in `commands`. A model or endpoint comes from a file that says it as a settings
file would, so that it may move between both as it stands; `${NAME}` is taken from this command's environment, which is
how a key gets in without standing in a file or an argument.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controlplane.commands import AsJson, At, KeyFile, Url, connect, control_app, stop

if TYPE_CHECKING:
    from controlplane.client import Client

models = control_app("Models that callers name.", group=True)
endpoints = control_app("Endpoints that serve a model.", group=True)

_MOST: int = 64 * 1024

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Its name or id.")]
EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, or MODEL/NAME.")]
ModelFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML of one model, without `endpoints`; - is the input.")
]
EndpointFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML of one endpoint, as under `endpoints`; - is the input.")
]
AsItIsToBe = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="What it is to say, whole.")]
OfModel = Annotated[str, typer.Option("--model", metavar="MODEL", help="Name or id of the model.")]
KeyVariable = Annotated[
    str | None, typer.Option("--api-key-env", metavar="NAME", help="Environment variable with its new key.")
]


@models.command("list")
def list_models(as_json: AsJson = False, url: Url = At, key_file: KeyFile = None) -> None:
    """List models: id, name, endpoints, owner."""
    with connect(url, key_file) as client:
        found = client.pages("/models")
    for each in found:
        shadowed = "  not used: the settings file has this name" if each["shadowed"] else ""
        line = f"{each['id']}  {each['name']}  {each['endpoints']} endpoints  {each['owner']}{shadowed}"
        typer.echo(json.dumps(each) if as_json else line)


@models.command("show")
def show_model(model: ModelId, url: Url = At, key_file: KeyFile = None) -> None:
    """Show a model, as JSON."""
    with connect(url, key_file) as client:
        typer.echo(json.dumps(client.call("GET", f"/models/{_model(client, model)}"), indent=2))


@models.command("add")
def add_model(file: ModelFile, url: Url = At, key_file: KeyFile = None) -> None:
    """Add a model. Prints its id. Callers are answered 503 until it has an endpoint."""
    body = _read(file, "model")
    with connect(url, key_file) as client:
        typer.echo(client.call("POST", "/models", body)["id"])


@models.command("edit")
def edit_model(
    model: ModelId,
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="What it is to say, whole.")],
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Replace what is said of a model."""
    from controlplane.registry.shapes import ModelFields

    body = dict.fromkeys(ModelFields.__struct_fields__) | _read(file, "model")
    with connect(url, key_file) as client:
        client.call("PATCH", f"/models/{_model(client, model)}", body)


@models.command("remove")
def remove_model(model: ModelId, url: Url = At, key_file: KeyFile = None) -> None:
    """Remove a model that has no endpoints. Callers are answered 404."""
    with connect(url, key_file) as client:
        client.call("DELETE", f"/models/{_model(client, model)}")


@endpoints.command("list")
def list_endpoints(
    model: Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Only those of this model.")] = None,
    as_json: AsJson = False,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """List endpoints: id, model/name, owner, state, health and why it is not well."""
    with connect(url, key_file) as client:
        found = client.pages("/endpoints", model_id=_model(client, model) if model is not None else None)
    for each in found:
        typer.echo(json.dumps(each) if as_json else _line(each))


@endpoints.command("show")
def show_endpoint(endpoint: EndpointId, url: Url = At, key_file: KeyFile = None) -> None:
    """Show an endpoint and how it is, as JSON. Its key is never shown."""
    with connect(url, key_file) as client:
        typer.echo(json.dumps(client.call("GET", _path(client, endpoint)), indent=2))


@endpoints.command("add")
def add_endpoint(file: EndpointFile, model: OfModel, url: Url = At, key_file: KeyFile = None) -> None:
    """Add an endpoint to a model. Prints its id. Every worker uses it within two seconds."""
    body = _read(file, "endpoint")
    if "name" not in body:
        stop(f"{file}: name: is missing: it is the endpoint's label in logs, metrics and commands")
    with connect(url, key_file) as client:
        typer.echo(client.call("POST", "/endpoints", body | {"model_id": _model(client, model)})["id"])


@endpoints.command("edit")
def edit_endpoint(
    endpoint: EndpointId,
    file: AsItIsToBe = None,
    api_key_env: KeyVariable = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Replace what is said of an endpoint, or its key. A key that neither gives stays as it is."""
    from controlplane.registry.shapes import EndpointFields

    body: dict[str, Any] = {}
    if file is not None:
        body |= dict.fromkeys(EndpointFields.__struct_fields__) | _read(file, "endpoint")
    if api_key_env is not None:
        body["api_key"] = os.environ.get(api_key_env) or stop(f"${api_key_env} is not set", 2)
    with connect(url, key_file) as client:
        client.call("PATCH", _path(client, endpoint), body)


@endpoints.command("drain")
def drain_endpoint(endpoint: EndpointId, url: Url = At, key_file: KeyFile = None) -> None:
    """Send no new requests to an endpoint; those that run there end as they would have."""
    with connect(url, key_file) as client:
        client.call("PATCH", _path(client, endpoint), {"state": "draining"})


@endpoints.command("resume")
def resume_endpoint(endpoint: EndpointId, url: Url = At, key_file: KeyFile = None) -> None:
    """Take a draining endpoint back."""
    with connect(url, key_file) as client:
        client.call("PATCH", _path(client, endpoint), {"state": "active"})


@endpoints.command("remove")
def remove_endpoint(endpoint: EndpointId, url: Url = At, key_file: KeyFile = None) -> None:
    """Remove an endpoint; requests that run there end as they would have."""
    with connect(url, key_file) as client:
        client.call("DELETE", _path(client, endpoint))


def _read(file: Path, kind: str) -> dict[str, Any]:
    """What a file says, judged here already, so that mistakes have their line."""
    from fastpath.settings import Endpoint, Model
    from fastpath.settings.file import read_part
    from fastpath.settings.problem import SettingsError

    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            text = source.read(_MOST + 1).decode()
        values = read_part(text, os.environ, str(file), Model if kind == "model" else Endpoint)
    except (OSError, UnicodeDecodeError) as error:
        stop(f"{file} cannot be read: {error}")
    except SettingsError as error:
        stop(str(error))
    if len(text) > _MOST:
        stop(f"{file} is larger than {_MOST} bytes, the most that a {kind} may be")
    if "endpoints" in values:
        stop(f"{file}: endpoints: are added one by one: `fastpath endpoints add FILE --model {values.get('name')}`")
    return values


def _line(found: dict[str, Any]) -> str:
    words = [found["id"], f"{found['model']}/{found['name']}", found["owner"], found["state"], found["health"]]
    return "  ".join([*words, found["message"]] if found["message"] else words)


def _model(client: "Client", text: str) -> str:
    """The id of a model. Exits when there is none."""
    found = [each["id"] for each in client.pages("/models") if text in (each["id"], each["name"])]
    return str(found[0]) if found else stop(f"there is no model {text}: see `fastpath models list`")


def _path(client: "Client", text: str) -> str:
    """Where an endpoint is. Exits when there is none."""
    for each in client.pages("/endpoints"):
        if text in (each["id"], f"{each['model']}/{each['name']}"):
            return f"/endpoints/{each['id']}"
    stop(f"there is no endpoint {text}: see `fastpath endpoints list`")
