"""`fastpath explain ID` and `fastpath route explain`: what was decided, and what would be.

Owns flags, what is printed and exit codes: 0 done; 1 there is no such record, the request would not run, or a replay
differs; 2 the command line is wrong. Does not own the record (`source`, `view`) or the rehearsal (`rehearsal`).
"""

import os
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
