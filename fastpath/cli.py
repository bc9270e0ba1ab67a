"""The `fastpath` command.

Owns flags, help, messages and exit codes: 0 done, 1 the settings are wrong or the machine refuses, 2 the command line
is wrong. Does not own what the commands do; each imports that when it runs, so that `fastpath version` stays quick.
Commands of other packages join by the entry-point group `fastpath.commands` (a `typer.Typer` each). One thread.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from fastpath import __version__
from fastpath.bench.command import bench
from fastpath.commands import CommandGroup, JoinedGroup
from fastpath.compiled import outdated
from fastpath.explain.command import explain, route_app
from fastpath.policy.command import policies_app

if TYPE_CHECKING:
    from fastpath.settings import Settings
    from fastpath.settings.problem import SettingsError
    from fastpath.settings.source import SettingsSource

app = typer.Typer(
    cls=CommandGroup,
    name="fastpath",
    help="One front door for a mixed pool of model servers.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # they would show secrets
)
keys_app = typer.Typer(cls=JoinedGroup, help="Make, hash, list and change callers' keys.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(policies_app, name="policies")
app.add_typer(route_app, name="route")

StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="FOLDER", help="Folder with the pepper of the key hashes (mode 0700)."),
]


@app.command()
def serve(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings file (see `fastpath schema`).")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Serve one model server without a file, such as http://127.0.0.1:8000/v1. Every model name is "
            "passed on. Its key, if it needs one, comes from FASTPATH_UPSTREAM_KEY.",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address for callers.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port for callers.")] = None,
    admin_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the admin listener.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Worker processes.")] = None,
    door: Annotated[
        Literal["auto", "granian", "native"] | None,
        typer.Option(
            help="Front door: native (HTTP/1.1 in compiled code) or granian (HTTP/2 too, with TLS). auto is native for "
            "plaintext, granian with a certificate."
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines although no keys are configured.")
    ] = False,
    no_control: Annotated[
        bool, typer.Option("--no-control", help="Start no control process, whatever the file says of `control`.")
    ] = False,
    state_dir: StateDir = None,
) -> None:
    """Serve. Flags win over the file; SIGHUP or a changed file reloads it."""
    if (config is None) == (upstream is None):
        _stop("say what to serve: either --config FILE or --upstream URL", 2)
    listen = {"host": host, "port": port, "admin_port": admin_port, "door": door, "insecure": insecure or None}
    source = _source({"listen": listen, "workers": workers, "state_dir": state_dir}, config=config, upstream=upstream)
    source = _without_control(source) if no_control else source
    for changed in outdated(Path(__file__).parent.parent):
        print(f"warning: {changed} was changed after it was compiled: run `make install`", file=sys.stderr)
    _run(source)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Settings file.")], state_dir: StateDir = None
) -> None:
    """Show every mistake in a settings file with its line, column and key."""
    from fastpath.settings.policy_warnings import find_policy_warnings
    from fastpath.settings.problem import SettingsError

    try:
        settings = _source({"state_dir": state_dir}, config=file).read()
    except SettingsError as error:
        _show_mistakes(error, err=False)
        raise typer.Exit(1) from None
    for warning in find_policy_warnings(settings):
        typer.echo(f"warning: {warning.format(str(file))}", err=True)
    typer.echo(f"ok: {_summarise(settings)}")


@keys_app.command("new")
def new_key(
    name: Annotated[
        str | None, typer.Option(help="Name of the caller in logs; the key's public id if left out.")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Make a key. Prints the key, once and never again, and the line for the settings file."""
    from fastpath.settings.syntax import check_label
    from fastpath.settings.token import new_token

    token = new_token().reveal()
    label = token.split("-")[1] if name is None else name
    problem = check_label(label)
    if problem is not None:
        _stop(f"--name {problem}", 2)
    hashed = _hash(token, state_dir)
    typer.echo(token)
    typer.echo(f'- {{name: "{label}", hash: "{hashed}"}}')
    typer.echo("Give the first line to the caller: it is not stored. Put the second under keys: in the file.", err=True)


@keys_app.command("hash")
def hash_key(state_dir: StateDir = None) -> None:
    """Hash a key that exists already: from standard input, or typed without an echo."""
    from fastpath.settings.token import MAX_TOKEN

    token = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read(1 << 16)
    token = token.strip()
    if not 1 <= len(token) <= MAX_TOKEN or not all("!" <= letter <= "~" for letter in token):
        _stop(f"the key must be one line of 1 to {MAX_TOKEN} visible ASCII characters without spaces", 2)
    typer.echo(_hash(token, state_dir))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the settings file, for editors and for CI."""
    import msgspec

    from fastpath.settings import settings_schema

    typer.echo(msgspec.json.format(msgspec.json.encode(settings_schema()), indent=2).decode())


@app.command()
def presets() -> None:
    """List the providers that an endpoint's `preset` can name, with the environment variable of each one's key."""
    from fastpath.settings.preset import shipped_presets

    known = shipped_presets()
    width = max(map(len, known))
    for name, preset in known.items():
        typer.echo(f"{name:{width}}  {preset.key:20}  {preset.url}  {preset.title}")


@app.command()
def mock(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 lets the kernel choose.")] = 9001,
    model: Annotated[list[str] | None, typer.Option(help="Model name to serve; may be repeated.")] = None,
    engine: Annotated[
        Literal["vllm", "sglang", "llama.cpp"], typer.Option(help="Whose names its /metrics has.")
    ] = "vllm",
    ttft: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Time to the first token.")] = 0.2,
    rate: Annotated[float, typer.Option(min=0, metavar="TOKENS/S", help="Tokens a second; 0 is at once.")] = 50.0,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 64,
    slots: Annotated[int, typer.Option(min=0, help="Requests that run at once; 0 is no limit.")] = 0,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Log with what was received and charged.")] = None,
) -> None:
    """Run a model server that only pretends: for rehearsals, tests and demonstrations."""
    from backends.mock.cli import serve as serve_mock
    from backends.mock.options import MockOptions

    models = tuple(model or ("mock-model",))
    options = MockOptions(models=models, engine=engine, ttft=ttft, rate=rate, tokens=tokens, slots=slots)
    try:
        serve_mock(options, host, port, str(log) if log else None)
    except OSError as error:
        _stop(f"mock: {error.strerror or error}", 1)


@app.command()
def demo(
    upstream: Annotated[
        str | None, typer.Option(metavar="URL", help="A model server to use instead of the mock one.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for callers.")] = 8340,
    admin_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the admin listener.")] = 8341,
) -> None:
    """Serve on loopback with a model server of its own, and print requests to try."""
    from fastpath.demo import DemoError, run_demo
    from fastpath.settings.problem import SettingsError

    listen = {"host": "127.0.0.1", "port": port, "admin_port": admin_port}
    try:
        raise typer.Exit(run_demo(lambda url: _source({"listen": listen}, upstream=url), upstream, os.environ))
    except SettingsError as error:
        _show_mistakes(error, err=True)
    except DemoError as error:
        _stop(str(error), 1)
    raise typer.Exit(1)


app.command()(bench)
app.command()(explain)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"fastpath {__version__}")


def _source(overrides: dict[str, Any], *, config: Path | None = None, upstream: str | None = None) -> "SettingsSource":
    from fastpath.settings.source import SettingsSource

    given = _drop_absent(overrides)
    return SettingsSource(
        environ=os.environ, uid=os.geteuid(), config=config, upstream=upstream, overrides=given, check=_check_prices
    )


def _check_prices(settings: "Settings") -> None:
    from fastpath.account.preflight import check_prices
    from scheduler.clock import SystemClock

    check_prices(settings, SystemClock().now())


def _without_control(source: "SettingsSource") -> "SettingsSource":
    import msgspec

    return msgspec.structs.replace(source, overrides={**source.overrides, "control": None})


def _drop_absent(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given: only those win over the file."""
    nested = {name: _drop_absent(flag) if isinstance(flag, dict) else flag for name, flag in flags.items()}
    return {
        name: str(flag) if isinstance(flag, Path) else flag for name, flag in nested.items() if flag not in (None, {})
    }


def _run(source: "SettingsSource") -> NoReturn:
    from fastpath.settings.problem import SettingsError

    try:
        source()  # mistakes are shown before anything starts
        from fastpath.process.supervisor import run

        raise typer.Exit(run(source, source.config))
    except SettingsError as error:
        _show_mistakes(error, err=True)
        raise typer.Exit(1) from None


def _hash(token: str, state_dir: Path | None) -> str:
    from fastpath.settings import state_folder
    from fastpath.settings.pepper import PepperError, make_pepper
    from fastpath.settings.token import KeyHasher

    folder = state_folder(str(state_dir) if state_dir else None, os.environ, os.geteuid())
    try:
        return KeyHasher(make_pepper(folder)).hash_text(token)
    except PepperError as error:
        _stop(str(error), 1)


def _show_mistakes(error: "SettingsError", *, err: bool) -> None:
    for problem in error.problems:
        typer.echo(problem.format(error.source), err=err)
    count = len(error.problems)
    typer.secho(f"{count} mistake{'s' if count > 1 else ''} in {error.source}", err=True, fg=typer.colors.RED)


def _summarise(settings: "Settings") -> str:
    listen = settings.listen
    counts = {
        "model": len(settings.models),
        "endpoint": sum(len(model.endpoints) for model in settings.models),
        "key": len(settings.keys),
    }
    if settings.issuers:
        counts["issuer"] = len(settings.issuers)
    things = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
    return f"{things}; callers on {listen.place}, admin on {listen.admin_host}:{listen.admin_port}"


def _stop(message: str, code: int) -> NoReturn:
    typer.secho(f"fastpath: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the `fastpath` script."""
    app()


if __name__ == "__main__":
    main()
