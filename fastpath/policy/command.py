"""`fastpath policies explain`: what the rules of a settings file make of a request, and why. Sends nothing.

Owns flags and what is printed; exit codes: 0 it may run, 1 it may not or the settings are wrong, 2 the command line is
wrong. The verdict is the rulebook's own, the reasons are those of its plain twin.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fastpath.commands import JoinedGroup

if TYPE_CHECKING:
    from fastpath.policy.question import Question, Verdict
    from fastpath.settings import DataClass, Key, Settings

policies_app = typer.Typer(cls=JoinedGroup, help="Rules about who may send what where.", no_args_is_help=True)


@policies_app.callback()
def group() -> None:
    """Rules about who may send what where."""


@policies_app.command("explain")
def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Settings file.")],
    model: Annotated[str, typer.Option(help="Model, as the caller names it.")],
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the caller's key.")] = None,
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Tenant; without it, that of the key.")] = None,
    team: Annotated[str | None, typer.Option(metavar="NAME", help="Team; without it, that of the key.")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="User; without it, that of the key.")] = None,
    path: Annotated[str, typer.Option(help="API path.")] = "/v1/chat/completions",
    data_class: Annotated[
        Literal["P0", "P1", "P2"] | None,
        typer.Option("--class", help="Data class, as its header says; without it, that of key, tenant and model."),
    ] = None,
    address: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Address of the caller.")] = "",
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601, UTC unless it says; without it, now.")
    ] = None,
) -> None:
    """Say what the rules of a settings file make of a request, and why. Nothing is sent."""
    from fastpath.guard.classes import Classes
    from fastpath.policy.question import Question
    from fastpath.policy.reading import read_all
    from fastpath.policy.rulebook import Rulebook

    settings = _read(file)
    rulebook = Rulebook(settings.policies, settings.policy_default, settings.tenants)
    found = _key(settings, key)
    if found is not None:
        tenant, team, user = tenant or found.tenant, team or found.team, user or found.user
    team = team or rulebook.team_of(tenant, user)
    label = Classes(settings).label(data_class or (found.data_class if found else None), tenant, _rule(settings, model))
    question = Question(model, path, label.data_class, _moment(at), key, user, team, tenant, address)
    tiers = _tiers(settings, model, path)
    verdict = rulebook.judge(question, tiers)
    for line in _lines(question, verdict, tiers, settings.policy_default):
        typer.echo(line)
    for finding in read_all(settings.policies, question, tiers):
        why = "holds" if finding.holds else f"`{finding.fails}` does not hold"
        why = "is excepted by `unless`" if finding.fails == "unless" else why
        typer.echo(f"  {finding.tier}  {finding.policy.effect:<5}  {finding.policy.name}: {why}")
    raise typer.Exit(0 if verdict.tiers else 1)


def _lines(question: "Question", verdict: "Verdict", tiers: int, default: str) -> Iterator[str]:
    from fastpath.policy.question import TIERS

    parts = [f"{name} {value}" for name in ("key", "tenant", "team", "user") if (value := getattr(question, name))]
    moment = datetime.fromtimestamp(question.at, UTC).isoformat(timespec="minutes")
    who = ", ".join(parts) or "nobody known"
    origin = question.address or "an unknown address"
    yield f"{who}: {question.model} on {question.path}, class {question.data_class}, from {origin}, at {moment}"
    if not verdict.tiers:
        yield f"403 policy_blocked: {verdict.rule or f'no rule allows it, and policy_default is {default}'}"
        return
    left = ", ".join(tier for tier, bit in TIERS.items() if verdict.tiers & bit)
    gone = ", ".join(tier for tier, bit in TIERS.items() if tiers & ~verdict.tiers & bit)
    yield f"may go to {left}{f', not to {gone}' if gone else ''}: {verdict.rule or f'policy_default is {default}'}"


def _read(file: Path) -> "Settings":
    from fastpath.settings.file import read
    from fastpath.settings.problem import SettingsError

    try:
        return read(file, os.environ)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _key(settings: "Settings", name: str | None) -> "Key | None":
    """The key of the file with this name. A control plane may have others."""
    found = next((key for key in settings.keys if key.name == name), None)
    if name is not None and found is None and settings.control is None:
        raise typer.BadParameter("is no key of this file", param_hint="--key")
    return found


def _tiers(settings: "Settings", model: str, path: str) -> int:
    """Tiers of the model's endpoints that serve the path; all where none does."""
    from fastpath.policy.question import EVERY_TIER, TIERS

    models = {one.name: one for one in settings.models}
    route = models.get(model) or models.get("*")
    if route is None:
        raise typer.BadParameter("is no model of this file", param_hint="--model")
    serving = [one for one in route.endpoints if one.paths is None or path in one.paths]
    return sum({TIERS[endpoint.tier] for endpoint in serving}) or EVERY_TIER


def _rule(settings: "Settings", model: str) -> "DataClass | None":
    """The class that the model's data has at least."""
    models = {one.name: one for one in settings.models}
    route = models.get(model) or models.get("*")
    return route.data_class if route is not None else None


def _moment(text: str | None) -> float:
    if text is None:
        return datetime.now(UTC).timestamp()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be a time such as 2026-12-24T18:00+01:00", param_hint="--at") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
