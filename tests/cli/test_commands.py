"""Commands that other installed packages add, good and broken."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fastpath.cli import app

PLUGIN = """\
import typer
print("loaded")
app = typer.Typer(help="Talk to the store.")
@app.command()
def migrate(): print("migrated")
@app.command()
def vacuum(): print("vacuumed")
not_an_app = 5
"""
ENTRIES = """\
[fastpath.commands]
store = fp_test_plugin:app
version = fp_test_plugin:app
wrong = fp_test_plugin:not_an_app
gone = fp_test_missing:app
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that adds four commands, three of them badly."""
    info = tmp_path / "fp_test_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fp-test-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "fp_test_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_command_of_another_package_runs() -> None:
    done = CliRunner().invoke(app, ["store", "vacuum"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "vacuumed")


def test_help_lists_it_with_its_own_words() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    assert "Talk to the store." in output
    assert "version" in output


def test_a_built_in_command_wins_and_loads_no_other_package() -> None:
    done = CliRunner().invoke(app, ["version"])
    assert done.exit_code == 0
    assert done.output.startswith("fastpath ")
    assert "loaded" not in done.output


@pytest.mark.parametrize(("name", "reason"), [("gone", "ModuleNotFoundError"), ("wrong", "not a typer.Typer")])
def test_a_broken_one_says_who_must_act(name: str, reason: str) -> None:
    done = CliRunner().invoke(app, [name])
    assert done.exit_code == 1
    assert reason in done.output
    assert "reinstall or remove fp-test-plugin" in done.output


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["sevre"]).exit_code == 2
