"""Commands that other installed packages add to `fastpath`.

Owns the entry-point group `fastpath.commands`: each entry is a `typer.Typer` whose name becomes the sub-command. They
are loaded only when named or listed, because some import a database. A built-in command wins over a plug-in's, and a
built-in group of commands (`JoinedGroup`) takes those of a plug-in's group of its name that it has not itself.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

GROUP = "fastpath.commands"


class CommandGroup(TyperGroup):
    """The built-in commands, then those of entry points."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help page."""
        return [*self.commands, *sorted(entry_points(group=GROUP).names - self.commands.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command called `cmd_name`; None when there is none."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        found = tuple(entry_points(group=GROUP, name=cmd_name))
        return _load(found[0]) if found else None


class JoinedGroup(TyperGroup):
    """A built-in group, then what a plug-in's group of the same name adds."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help page."""
        added = self._plugin()
        return [*self.commands, *(name for name in getattr(added, "commands", {}) if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command called `cmd_name`; None when there is none."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        added = self._plugin()
        return getattr(added, "commands", {}).get(cmd_name) if added is not None else None

    def _plugin(self) -> Any:
        found = tuple(entry_points(group=GROUP, name=self.name or ""))
        return _load(found[0]) if found else None


def _load(entry: EntryPoint) -> Any:
    """The command behind an entry point; one that explains itself when it cannot be loaded."""
    try:
        target = entry.load()
    except Exception as error:  # whatever a foreign package raises must not take `fastpath --help` away
        return _broken(entry, f"{type(error).__name__}: {error}")
    if not isinstance(target, typer.Typer):
        return _broken(entry, f"{entry.value} is not a typer.Typer")
    target.info.name = entry.name
    command = typer.main.get_command(target)
    command.name = entry.name
    return command


def _broken(entry: EntryPoint, reason: str) -> Any:
    package = entry.dist.name if entry.dist else "its package"
    message = f"cannot be loaded ({reason}): reinstall or remove {package}"

    def explain() -> None:
        typer.secho(f"fastpath: {entry.name} {message}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1)

    broken = typer.Typer(add_completion=False)
    broken.command(entry.name, help=message, context_settings={"ignore_unknown_options": True})(explain)
    return typer.main.get_command(broken)
