"""Commands about money: `fastpath usage`, `invoice` and `reconcile`.

Owns flags, messages and exit codes: 0 done, 1 refused or a line could not be read, 2 the command line is wrong. Each
name here is an entry point of the group `fastpath.commands`. The first two ask the admin API; `reconcile` works on the
database of a state folder, because a statement has more lines than a request of that API may have.
"""

import asyncio
import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from controlplane.commands import AsJson, At, KeyFile, StateDir, Url, connect, control_app, load_settings, stop

if TYPE_CHECKING:
    from controlplane.ledger.balances import Period
    from controlplane.ledger.reconciliation import Difference, Reconciliation
    from controlplane.settings import ControlSettings

_MOST_STATEMENT: Final = 1 << 30

#: What a person is to do about lines that changed nothing, by their verdict.
_ADVICE: Final = {
    "which_attempt": "they say no attempt, and their requests made several that they may mean. Add the column "
    "`attempt` (1 for the first that was sent) to those, and reconcile again",
    "another_line": "they say no attempt, and the only one that they can mean has a line of its own. Make one line of "
    "the two, and reconcile again",
    "other_provider": "the books have those attempts at another endpoint, see the column `endpoint`. If the statement "
    "is of that one, too, reconcile it once more with `--provider` naming that; if it is not, correct `attempt` in "
    "those lines, or ask the provider what it charges for",
}

AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Month = Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Without it, the month that is.")]

usage = control_app("Show what was used.")
invoice = control_app("Show what a tenant owes.")
reconcile = control_app("Compare what providers charged with the ledger.")


@usage.command()
def show_usage(
    by: Annotated[str, typer.Option(help="tenant, team, user, key, model or day.")] = "tenant",
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="Only of this tenant.")] = None,
    team: Annotated[str | None, typer.Option(metavar="ID", help="Only of this team.")] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only of this user.")] = None,
    key: Annotated[str | None, typer.Option(metavar="ID", help="Only of this key.")] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    month: Month = None,
    start: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="First day, instead of a month.")] = None,
    end: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day.")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Show requests, tokens and money of a month or some days."""
    asked = {"tenant_id": tenant, "team_id": team, "user_id": user, "key_id": key, "model": model}
    with connect(url, key_file) as client:
        found = client.call("GET", "/usage", None, by=by, month=month, start=start, end=end, **asked)
    _print(found, found["data"], as_csv=as_csv, as_json=as_json)


@invoice.command()
def show_invoice(
    tenant: Annotated[str, typer.Argument(metavar="ID", help="The tenant.")],
    month: Month = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    url: Url = At,
    key_file: KeyFile = None,
) -> None:
    """Show what a tenant owes for a month of its time zone: a line for each model, then totals."""
    if not tenant.replace("-", "").replace("_", "").isalnum():
        stop("an id is 32 hex digits", 2)
    with connect(url, key_file) as client:
        found = client.call("GET", f"/invoices/{tenant}", None, month=month)
    _print(found, found["lines"], as_csv=as_csv, as_json=as_json)
    if not as_csv and not as_json:
        for total in found["totals"]:
            cost = "" if total["cost"] is None else f"; providers ask {total['cost']}"
            typer.echo(
                f"{total['total']} {total['currency']} in all: {total['charge']} charged, {total['refunded']} refunded"
                f"{cost}"
            )


@reconcile.command()
def reconcile_statement(
    statement: Annotated[Path, typer.Option(metavar="FILE", help="CSV: request, attempt, amount, currency.")],
    provider: Annotated[str, typer.Option(metavar="ENDPOINT", help="The endpoint that it is about.")],
    name: Annotated[str | None, typer.Option(help="How the provider numbers it; else the file's name.")] = None,
    complete: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="Month (UTC) of which it has every line: what it lacks was not charged."),
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Make cost exact: afterwards it is what the statement says. Prints what differed; again it changes nothing."""
    from controlplane.ledger.corrections import LedgerError
    from controlplane.ledger.statement import StatementError
    from controlplane.problem import Problem
    from controlplane.store.errors import StoreError
    from fastpath.settings.private import PrivateFileError

    try:
        text = _read_statement(statement)
        result, bad = asyncio.run(
            _reconcile(load_settings(state_dir), text, name or statement.name, provider, _month(complete))
        )
    except (StatementError, StoreError, LedgerError, PrivateFileError, Problem, ValueError, OSError) as error:
        stop(str(error))
    for line in bad:
        typer.echo(f"{statement}:{line.number}: {line.problem}", err=True)
    typer.echo(_differences(result.differences), nl=False)
    typer.echo(f"{result.matched} lines agree, {len(result.differences)} differ, {len(bad)} are no lines", err=True)
    unused = Counter(one.verdict.value for one in result.differences if one.verdict.value in _ADVICE)
    for verdict, count in unused.items():
        typer.echo(f"{count} lines were not used ({verdict}): {_ADVICE[verdict]}", err=True)
    raise typer.Exit(1 if bad or unused else 0)


async def _reconcile(
    settings: "ControlSettings", text: str, name: str, provider: str, complete: "Period | None"
) -> "tuple[Reconciliation, Sequence[Any]]":
    import time

    from controlplane.access.principal import Actor
    from controlplane.app import read_pepper
    from controlplane.audit.trail import Subject, Trail
    from controlplane.ledger.books import Ledger
    from controlplane.ledger.reconciliation import Statement
    from controlplane.ledger.statement import parse_statement
    from controlplane.settlement.billing import ledger_secret
    from controlplane.store import schema
    from controlplane.store.database import Database
    from fastpath.settings.private import check_private_file

    check_private_file(settings.folder / "control.db")
    if not (settings.folder / "pepper").exists():
        raise ValueError(f"{settings.folder} is not the state folder of a control process: name it with --state-dir")
    lines, bad = parse_statement(io.StringIO(text))
    database = await Database.open(settings.database_url.reveal())
    try:
        await schema.check(database)
        ledger = Ledger(database, ledger_secret(read_pepper(settings)))
        async with Trail(database, time.time).change(Actor("fastpath reconcile")) as change:
            told = {"statement": name, "provider": provider, "lines": len(lines)}
            await change.record("ledger.reconcile", Subject("statement", name[:64]), None, told)
        return await ledger.reconciler.reconcile(Statement(name, provider, lines, complete)), bad
    finally:
        await database.close()


def _read_statement(file: Path) -> str:
    """A file of any size a person would send; what is longer is no statement."""
    if file.stat().st_size > _MOST_STATEMENT:
        raise ValueError(f"{file} is larger than 1 GiB: send it in parts")
    return file.read_text("utf-8-sig")


def _month(text: str | None) -> "Period | None":
    from zoneinfo import ZoneInfo

    from controlplane.settlement.periods import month_of

    return None if text is None else month_of(text, ZoneInfo("UTC"), 0.0)


def _differences(found: "Sequence[Difference]") -> str:
    from fastpath.money.amount import format_nano

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if found:
        writer.writerow(("request", "attempt", "verdict", "currency", "booked", "stated", "endpoint"))
    for one in found:
        where = one.request.hex(), one.attempt, one.verdict.value, one.currency
        writer.writerow((*where, format_nano(one.booked), format_nano(one.stated), " ".join(one.endpoints)))
    return text.getvalue()


def _print(found: Any, lines: list[dict[str, Any]], *, as_csv: bool, as_json: bool) -> None:
    """JSON as it came, CSV, or columns for people."""
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines]
    if not rows:
        typer.echo(f"nothing from {found['start']} to {found['end']}", err=True)
        return
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows(rows)
        return
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    for row in ({name: name for name in widths}, *rows):
        typer.echo("  ".join(row[name].ljust(width) for name, width in widths.items()).rstrip())
