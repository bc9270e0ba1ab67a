"""`fastpath explain ID` and `fastpath route explain`: what was decided, and what would be.

Owns flags, what is printed and exit codes: 0 done; 1 there is no such record, the request would not run, or a replay
differs; 2 the command line is wrong. Does not own the record (`source`, `view`) or the rehearsal (`rehearsal`).
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fastpath.commands import JoinedGroup

if TYPE_CHECKING:
    from fastpath.explain.decision import Decision

route_app = typer.Typer(cls=JoinedGroup, help="Where requests go.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", metavar="FILE", help="Private file (0600) with an admin key.")
]
StateDir = Annotated[Path | None, typer.Option("--state-dir", metavar="FOLDER", help="The gateway's state folder.")]


@route_app.callback()
def group() -> None:
    """Where requests go."""


def explain(
    request: Annotated[str, typer.Argument(metavar="ID", help="Id of a request: the x-request-id of its answer.")],
    state_dir: StateDir = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask the admin API there, instead of reading the state folder.")
    ] = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
    replay: Annotated[bool, typer.Option("--replay", help="Decide again from what the record holds.")] = False,
) -> None:
    """Show why a request ran where it ran: who was dropped and why, the scores, the attempts, the money."""
    from fastpath.explain.source import SourceError, read_local, read_remote
    from fastpath.explain.view import ADMIN, show
    from fastpath.settings import state_folder

    if replay and url is not None:
        _stop("--replay reads the state folder: leave --url out, on the machine of the gateway", 2)
    try:
        if url is not None:
            _print(read_remote(url, request, key_file, os.environ), as_json)
            return
        folder = state_folder(str(state_dir) if state_dir else None, os.environ, os.geteuid())
        decision = read_local(folder, request, _LONGEST)
    except SourceError as error:
        _stop(str(error), 1)
    if replay:
        _replay(decision)
        return
    _print(show(decision, ADMIN), as_json)


@route_app.command("explain")
def route_explain(
    request: Annotated[
        Path, typer.Option("--request", metavar="FILE", help="JSON body of the request; - is the input.")
    ],
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="Settings file of the gateway.")],
    path: Annotated[str, typer.Option(help="API path.")] = "/v1/chat/completions",
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="K:V", help="A header of the request; may be repeated.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Key of the file, as whose the request counts.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Tenant, where no key is named.")] = None,
    live: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Admin port of a running gateway: go by its load and health."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a request would go, and why. Sends nothing; knows load and health only with --live, limits used up
    never."""
    import asyncio

    import msgspec

    from fastpath.explain.rehearsal import Question, RehearsalError, rehearse
    from fastpath.explain.source import SourceError, read_load
    from fastpath.explain.text import foretell
    from fastpath.explain.view import show_rehearsed
    from fastpath.settings.file import read
    from fastpath.settings.problem import SettingsError

    try:
        question = Question(_body(request), path, _headers(header or []), key, tenant)
        load = read_load(live) if live is not None else None
        rehearsed = asyncio.run(rehearse(read(config, os.environ), question, load))
        found = show_rehearsed(rehearsed, load)
    except (RehearsalError, SourceError, SettingsError) as error:
        _stop(str(error), 1)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for line in foretell(found):
            typer.echo(line)
    raise typer.Exit(0 if found["endpoint"] else 1)


def _body(file: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            return source.read(_MOST_BODY)
    except OSError as error:
        _stop(f"{file} cannot be read: {error.strerror}", 1)


def _headers(given: list[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name.strip() or not one.isascii() or not one.isprintable():
            _stop(f"--header must be such as x-fastpath-data-class:P1, not {one!r}", 2)
        found[name.strip().lower()] = value.strip()
    return found


_MOST_BODY = 64 << 20
#: Whoever reads the folder sees all that is still in it: 400 days.
_LONGEST = 400 * 86_400.0


def _print(shown: dict[str, Any], as_json: bool) -> None:
    import msgspec

    from fastpath.explain.text import tell

    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
        return
    for line in tell(shown):
        typer.echo(line)


def _replay(decision: "Decision") -> None:
    from fastpath.explain.replay import replay

    found = replay(decision)
    for number, again in enumerate(found, 1):
        verdict = "the same" if again.same else f"DIFFERENT: recorded {again.recorded or 'nobody'}"
        how = "" if again.decided else " (a picker among equals: one of those that were left)"
        typer.echo(f"choice {number}: {again.endpoint or 'nobody'}, {verdict}{how}")
    if not found:
        typer.echo("no choice was made: there is nothing to replay")
    raise typer.Exit(0 if all(again.same for again in found) else 1)


def _stop(message: str, code: int) -> NoReturn:
    typer.secho(f"fastpath: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(code)
