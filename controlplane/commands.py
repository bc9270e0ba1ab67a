"""Commands of the control plane: `fastpath init`, `control`, `backup`, `restore`, and clients of the admin API.

Owns flags, messages and exit codes: 0 done, 1 refused, 2 the command line is wrong. Each name here is an entry point of
the group `fastpath.commands`. What a command does is imported when it runs. Secrets come from the environment or from
private files, and a new key is printed once, alone on standard output.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from controlplane.client import Client
    from controlplane.settings import ControlSettings
    from controlplane.store.database import Database
    from fastpath.settings import AdminIssuer

DATABASE_VARIABLE = "FASTPATH_DATABASE"
MASTER_VARIABLE = "FASTPATH_MASTER_KEY"

T = TypeVar("T")

StateDir = Annotated[Path | None, typer.Option("--state-dir", metavar="FOLDER", help="State folder (mode 0700).")]
Url = Annotated[str, typer.Option("--url", envvar="FASTPATH_ADMIN_URL", metavar="URL", help="Where the admin API is.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="File (0600) with your admin key; else FASTPATH_ADMIN_KEY."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id.")]
NewName = Annotated[str | None, typer.Option("--name", help="Another name.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model it may use; may be repeated.")]
Paths = Annotated[list[str] | None, typer.Option("--path", help="An API path it may use; may be repeated.")]
Networks = Annotated[list[str] | None, typer.Option("--network", help="A network it may be used from; repeatable.")]
DataClass = Annotated[str | None, typer.Option("--data-class", help="Most sensitive class it may send: P0, P1 or P2.")]
MarkupPpm = Annotated[
    int | None, typer.Option(help="Millionths added to prices for it: 200000 is a fifth, -100000 a tenth off.")
]
DefaultClass = Annotated[str | None, typer.Option("--default-class", help="Least class of its requests: P0, P1 or P2.")]
Tiers = Annotated[list[str] | None, typer.Option("--tier", help="A tier its requests may go to; may be repeated.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="A region its requests may go to; repeatable.")]
Disable = Annotated[bool | None, typer.Option("--disable/--enable", help="Switch it off or on.")]
Inherit = Annotated[
    list[str] | None,
    typer.Option("--inherit", metavar="FIELD", help="models, paths, networks or data_class: what its owner has."),
]
At = "http://127.0.0.1:8342"


def control_app(text: str, *, group: bool = False) -> typer.Typer:
    return typer.Typer(help=text, no_args_is_help=group, add_completion=False, pretty_exceptions_show_locals=False)


init = control_app("Make the first admin key.")
control = control_app("Run the control process alone.")
backup = control_app("Write a backup of the control plane's database.")
restore = control_app("Fill an empty database from a backup.")
tenants = control_app("Tenants of the gateway.", group=True)
teams = control_app("Teams of a tenant.", group=True)
users = control_app("Users of a team.", group=True)
keys = control_app("Callers' keys.", group=True)


@init.command()
def make_first_admin(
    name: Annotated[str, typer.Option(help="Name of the first admin key.")] = "admin", state_dir: StateDir = None
) -> None:
    """Make the first admin key, once. Prints it and never again; the control process must run, as the same user."""
    with _libraries():
        from controlplane.bootstrap import Ask, ask_control

    folder = _folder(state_dir)
    try:
        answer = ask_control(folder, Ask(name))
    except OSError as error:
        stop(f"no control process listens in {folder} ({error.strerror or error}): start one with `fastpath control`")
    if answer.problem:
        stop(answer.problem)
    typer.echo(answer.token)
    typer.echo("Keep this admin key: it is not stored. Set it as FASTPATH_ADMIN_KEY to use it.", err=True)


@control.command()
def run_control(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 lets the kernel choose.")] = 8342,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A name under which it may be called; may be repeated.")
    ] = None,
    webhook_host: Annotated[
        list[str] | None, typer.Option(help="A webhook's host that may be private, as control.allow_hosts; repeatable.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate chain: HTTPS.")] = None,
    cert_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let other machines reach it without TLS.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Settings file, for its `control.issuers` alone."),
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Serve the admin API. The database is FASTPATH_DATABASE, else SQLite in the state folder."""
    import msgspec

    with _libraries():
        from controlplane.server import run

    settings = msgspec.structs.replace(
        load_settings(state_dir),
        host=host,
        port=port,
        allowed_hosts=tuple(allowed_host or ()),
        allow_hosts=tuple(webhook_host or ()),
        cert=str(cert) if cert else None,
        cert_key=str(cert_key) if cert_key else None,
        insecure=insecure,
        issuers=_issuers(config),
    )
    raise typer.Exit(run(settings))


@backup.command()
def write_backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")], state_dir: StateDir = None
) -> None:
    """Write every table, as it stands now, to FILE (0600). Serving goes on. Keep the pepper and master key as well."""
    with _libraries():
        from controlplane.archive import back_up

    counts = _on_database(state_dir, lambda database: back_up(database, file))
    typer.echo(f"{sum(counts.values())} rows of {len(counts)} tables in {file}")


@restore.command()
def read_backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")], state_dir: StateDir = None
) -> None:
    """Fill the database, which must be empty, from FILE. The control process must not run."""
    with _libraries():
        from controlplane.archive import restore as fill

    counts = _on_database(state_dir, lambda database: fill(database, file))
    typer.echo(f"{sum(counts.values())} rows of {len(counts)} tables from {file}")


@tenants.command("create")
def create_tenant(
    name: str,
    currency: Annotated[str, typer.Option(help="ISO 4217; for good.")] = "USD",
    time_zone: Annotated[str, typer.Option(help="IANA name.")] = "UTC",
    models: Models = None,
    paths: Paths = None,
    networks: Networks = None,
    data_class: DataClass = None,
    default_class: DefaultClass = None,
    tiers: Tiers = None,
    regions: Regions = None,
    markup_ppm: MarkupPpm = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Make a tenant. Prints its id."""
    body: dict[str, Any] = {"name": name, "currency": currency, "time_zone": time_zone, "markup_ppm": markup_ppm}
    body |= _placement(default_class, tiers, regions)
    _create(url, key_file, "/tenants", body | _scope(models, paths, networks, data_class))


@tenants.command("place")
def place_tenant(
    object_id: Id,
    default_class: DefaultClass = None,
    tiers: Tiers = None,
    regions: Regions = None,
    clear: Annotated[
        list[str] | None,
        typer.Option("--clear", metavar="FIELD", help="default_class, residency_tiers or residency_regions."),
    ] = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Say what class a tenant's data is of at least, and where it may go. What is not given stays as it is."""
    given = {field: value for field, value in _placement(default_class, tiers, regions).items() if value is not None}
    with connect(url, key_file) as client:
        client.call("PATCH", f"/tenants/{_quoted(object_id)}", given | dict.fromkeys(clear or ()))


@tenants.command("markup")
def mark_up_tenant(
    object_id: Id,
    ppm: MarkupPpm = None,
    clear: Annotated[bool, typer.Option("--clear", help="From now on what the model says.")] = False,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Say what is added to prices for a tenant: for requests from now on."""
    if (ppm is None) != clear:
        stop("give --ppm, or --clear", 2)
    with connect(url, key_file) as client:
        client.call("PATCH", f"/tenants/{_quoted(object_id)}", {"markup_ppm": ppm})


@teams.command("create")
def create_team(
    name: str,
    tenant: Annotated[str, typer.Option(help="Id of its tenant.")],
    models: Models = None,
    paths: Paths = None,
    networks: Networks = None,
    data_class: DataClass = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Make a team in a tenant. Prints its id."""
    body = {"name": name, "tenant_id": tenant} | _scope(models, paths, networks, data_class)
    _create(url, key_file, "/teams", body)


@users.command("create")
def create_user(
    name: str,
    team: Annotated[str, typer.Option(help="Id of its team.")],
    models: Models = None,
    paths: Paths = None,
    networks: Networks = None,
    data_class: DataClass = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Make a user in a team. Prints its id."""
    body = {"name": name, "team_id": team} | _scope(models, paths, networks, data_class)
    _create(url, key_file, "/users", body)


@keys.command("create")
def create_key(
    name: str,
    user: Annotated[str, typer.Option(help="Id of its user.")],
    models: Models = None,
    paths: Paths = None,
    networks: Networks = None,
    data_class: DataClass = None,
    expires: Annotated[int | None, typer.Option(metavar="SECONDS", help="Unix time of its end.")] = None,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Make a key for a user. Prints the key, once and never again."""
    body = {"name": name, "user_id": user, "expires_at": expires} | _scope(models, paths, networks, data_class)
    with connect(url, key_file) as client:
        _hand_out(client.call("POST", "/keys", body))


@keys.command("rotate")
def rotate_key(
    object_id: Id,
    overlap: Annotated[int, typer.Option(min=0, help="Seconds for which the old secret stays good.")] = 86_400,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Give a key a new secret. Prints it, once and never again."""
    with connect(url, key_file) as client:
        _hand_out(client.call("POST", f"/keys/{_quoted(object_id)}/rotate", {"overlap": overlap}))


def _add_common(app: typer.Typer, path: str, parent: str | None) -> None:
    """`list`, `show`, `edit` and `delete`, which all kinds share."""
    above = f"{parent}_id" if parent else None

    @app.command("list")
    def list_all(
        of: Annotated[str | None, typer.Option(metavar="ID", help="Only what this owner has.")] = None,
        as_json: AsJson = False,
        url: Url = At,
        key_file: KeyFile = None,
    ) -> None:
        """List them: id, name, state."""
        with connect(url, key_file) as client:
            found = client.pages(path, **({above: of} if above else {}))
        for each in found:
            typer.echo(json.dumps(each) if as_json else _line(each))

    @app.command("show")
    def show(object_id: Id, url: Url = At, key_file: KeyFile = None) -> None:
        """Show one, as JSON."""
        with connect(url, key_file) as client:
            typer.echo(json.dumps(client.call("GET", f"{path}/{_quoted(object_id)}"), indent=2))

    @app.command("edit")
    def edit(
        object_id: Id,
        name: NewName = None,
        disable: Disable = None,
        models: Models = None,
        paths: Paths = None,
        networks: Networks = None,
        data_class: DataClass = None,
        inherit: Inherit = None,
        url: Url = At,
        key_file: KeyFile = None,
    ) -> None:
        """Change what is given and nothing else."""
        given = {"name": name, "disabled": disable} | _scope(models, paths, networks, data_class)
        body = {field: value for field, value in given.items() if value is not None}
        with connect(url, key_file) as client:
            client.call("PATCH", f"{path}/{_quoted(object_id)}", body | dict.fromkeys(inherit or ()))

    @app.command("delete")
    def delete(object_id: Id, url: Url = At, key_file: KeyFile = None) -> None:
        """Delete one. A key is revoked for good."""
        with connect(url, key_file) as client:
            client.call("DELETE", f"{path}/{_quoted(object_id)}")


_add_common(tenants, "/tenants", None)
_add_common(teams, "/teams", "tenant")
_add_common(users, "/users", "team")
_add_common(keys, "/keys", "user")


def _create(url: str, key_file: Path | None, path: str, body: dict[str, Any]) -> None:
    with connect(url, key_file) as client:
        typer.echo(client.call("POST", path, body)["id"])


def _hand_out(issued: dict[str, Any]) -> None:
    typer.echo(issued["token"])
    typer.echo(f"Key {issued['key']['id']}: give the line above to its user. It is not stored.", err=True)


def _line(found: dict[str, Any]) -> str:
    state = "disabled" if found["disabled"] else "enabled"
    return f"{found['id']}  {found['name']}  {state}" + (f"  in {found['source']}" if found["source"] else "")


def _scope(
    models: list[str] | None, paths: list[str] | None, networks: list[str] | None, data_class: str | None
) -> dict[str, Any]:
    return {"models": models or None, "paths": paths or None, "networks": networks or None, "data_class": data_class}


def _placement(default_class: str | None, tiers: list[str] | None, regions: list[str] | None) -> dict[str, Any]:
    return {"default_class": default_class, "residency_tiers": tiers or None, "residency_regions": regions or None}


def _quoted(object_id: str) -> str:
    if not object_id.isalnum():
        stop("an id is 32 hex digits", 2)
    return object_id


@contextmanager
def connect(url: str, key_file: Path | None) -> "Iterator[Client]":
    from controlplane.client import Client, ClientError, find_key

    try:
        yield Client(url, find_key(os.environ, key_file))
    except ClientError as error:
        stop(str(error))


def _folder(state_dir: Path | None) -> Path:
    from fastpath.settings import state_folder

    return state_folder(str(state_dir) if state_dir else None, os.environ, os.geteuid())


def load_settings(state_dir: Path | None) -> "ControlSettings":
    from controlplane.secrets.master import EnvironmentSource
    from controlplane.settings import ControlSettings
    from fastpath.settings.secret import Secret

    database = os.environ.get(DATABASE_VARIABLE)
    return ControlSettings(
        state_dir=str(_folder(state_dir)),
        database=None if database is None else Secret(database),
        master_key=EnvironmentSource(MASTER_VARIABLE) if MASTER_VARIABLE in os.environ else None,
    )


def _issuers(config: Path | None) -> "tuple[AdminIssuer, ...]":
    """Whose tokens administrators may send, of a settings file."""
    from fastpath.settings.file import read
    from fastpath.settings.problem import SettingsError

    if config is None:
        return ()
    try:
        control = read(config, os.environ).control
    except SettingsError as error:
        stop("\n".join(problem.format(error.source) for problem in error.problems))
    return () if control is None else control.issuers


def _on_database(state_dir: Path | None, work: "Callable[[Database], Any]") -> Any:
    """What `work` gives, on the database of a state folder."""
    from controlplane.archive import ArchiveError
    from controlplane.store.database import Database
    from controlplane.store.errors import StoreError
    from fastpath.settings.private import PrivateFileError, check_private_file, make_private_folder

    settings = load_settings(state_dir)

    async def run() -> Any:
        database = await Database.open(settings.database_url.reveal())
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        make_private_folder(settings.folder)
        check_private_file(settings.folder / "control.db")
        return asyncio.run(run())
    except (ArchiveError, PrivateFileError, StoreError, ValueError, OSError) as error:
        stop(str(error))


@contextmanager
def _libraries() -> "Iterator[None]":
    """Around an import that needs the control plane's libraries: says what to install where they are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        stop(f"{error.name} is missing: pip install 'fastpath-gateway[control]'")


def stop(message: str, code: int = 1) -> NoReturn:
    typer.secho(f"fastpath: {message}", err=True, fg=typer.colors.RED)
    sys.exit(code)
