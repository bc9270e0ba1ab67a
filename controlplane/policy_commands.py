"""Commands about policies: `fastpath policies list|show|add|edit|remove`. Clients of the admin API.

Owns flags and messages; exit codes as in `commands`. A rule comes from a file that says it as a settings file would, so
that a rule may move between both as it stands.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from controlplane.commands import AsJson, At, Disable, Id, KeyFile, Url, connect, control_app, stop

policies = control_app("Rules about who may send what where.", group=True)

_MOST: int = 64 * 1024

Source = Annotated[Path, typer.Argument(metavar="FILE", help="YAML of one rule, as under `policies`; - is the input.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", metavar="ID", help="Tenant whose own rule it is.")]


@policies.command("list")
def list_all(tenant: OfTenant = None, as_json: AsJson = False, url: Url = At, key_file: KeyFile = None) -> None:
    """List rules in the order in which they are asked: id, name, effect, state."""
    with connect(url, key_file) as client:
        found = client.pages("/policies", **({"tenant_id": tenant} if tenant else {}))
    for each in found:
        typer.echo(json.dumps(each) if as_json else _line(each))


@policies.command("show")
def show(object_id: Id, url: Url = At, key_file: KeyFile = None) -> None:
    """Show a rule, as JSON."""
    with connect(url, key_file) as client:
        typer.echo(json.dumps(client.call("GET", _path(object_id)), indent=2))


@policies.command("add")
def add(file: Source, tenant: OfTenant = None, url: Url = At, key_file: KeyFile = None) -> None:
    """Add a rule. Prints its id. It holds on every node within two seconds."""
    body = _read(file) | ({"tenant_id": tenant} if tenant else {})
    with connect(url, key_file) as client:
        typer.echo(client.call("POST", "/policies", body)["id"])


@policies.command("edit")
def edit(
    object_id: Id,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="The rule as it is to be.")] = None,
    disable: Disable = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Replace what a rule says, or switch it off or on."""
    from fastpath.settings import Conditions

    body: dict[str, Any] = {} if disable is None else {"disabled": disable}
    if file is not None:
        body |= dict.fromkeys((*Conditions.__struct_fields__, "unless")) | _read(file)
    with connect(url, key_file) as client:
        client.call("PATCH", _path(object_id), body)


@policies.command("remove")
def remove(object_id: Id, url: Url = At, key_file: KeyFile = None) -> None:
    """Remove a rule."""
    with connect(url, key_file) as client:
        client.call("DELETE", _path(object_id))


def _read(file: Path) -> dict[str, Any]:
    """The rule in a file, judged here already, so that mistakes have their line."""
    import msgspec

    from fastpath.settings.file import read_policy
    from fastpath.settings.problem import SettingsError

    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            text = source.read(_MOST + 1).decode()
        policy = read_policy(text, str(file))
    except (OSError, UnicodeDecodeError) as error:
        stop(f"{file} cannot be read: {error}")
    except SettingsError as error:
        stop(str(error))
    if len(text) > _MOST:
        stop(f"{file} is larger than {_MOST} bytes, the most that a rule may be")
    body: dict[str, Any] = msgspec.to_builtins(policy)
    return {name: value for name, value in body.items() if value is not None}


def _line(found: dict[str, Any]) -> str:
    state = "disabled" if found["disabled"] else "enabled"
    return f"{found['id']}  {found['name']}  {found['effect']}  {state}  of {found['tenant_id'] or 'the gateway'}"


def _path(object_id: str) -> str:
    if not object_id.isalnum():
        stop("an id is 32 hex digits", 2)
    return f"/policies/{object_id}"
