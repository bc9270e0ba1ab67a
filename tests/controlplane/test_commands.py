"""The commands, run as a person runs them: a control process alone, the first admin, a tree, a key, a backup."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.client import Client, ClientError, find_key
from fastpath.settings.secret import Secret
from tests.conftest import ROOT, Program

MAIN = "import sys, typer, controlplane.commands as c; sys.argv[0] = 'fastpath'; getattr(c, sys.argv.pop(1))()"

#: Root's own state folder is the machine's.
STATE = ("--state-dir", "state")


class Shell:
    """Runs commands against one control process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}

    def run(self, *command: str, status: int = 0) -> str:
        """What a command prints on standard output, or, when it must fail, on standard error."""
        done = subprocess.run(
            [sys.executable, "-P", "-c", MAIN, *command],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return (done.stderr if status else done.stdout).strip()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    with Program("-P", "-c", MAIN, "control", "--port", "0", *STATE, folder=tmp_path) as process:
        shell.environ["FASTPATH_ADMIN_URL"] = process.line("serving on").split()[-1]
        yield shell


def test_from_nothing_to_a_key_and_a_backup(shell: Shell, tmp_path: Path) -> None:
    assert "FASTPATH_ADMIN_KEY" in shell.run("tenants", "list", status=1)
    token = shell.run("init", *STATE)
    assert re.fullmatch(r"fp-[0-9a-f]{8}-[0-9a-f]{64}", token)
    assert "made before" in shell.run("init", *STATE, status=1)
    shell.environ["FASTPATH_ADMIN_KEY"] = token
    tenant = shell.run("tenants", "create", "acme", "--model", "small", "--currency", "EUR")
    for said, markup in ((("--ppm", "-100000"), -100_000), (("--clear",), None)):
        shell.run("tenants", "markup", tenant, *said)
        assert json.loads(shell.run("tenants", "show", tenant))["markup_ppm"] == markup
    assert "--clear" in shell.run("tenants", "markup", tenant, status=2)
    team = shell.run("teams", "create", "core", "--tenant", tenant)
    user = shell.run("users", "create", "ann", "--team", team, "--network", "10.0.0.0/8")
    key = shell.run("keys", "create", "laptop", "--user", user)
    assert re.fullmatch(r"fp-[0-9a-f]{8}-[0-9a-f]{64}", key)
    assert "asks for more" in shell.run("keys", "create", "k", "--user", user, "--model", "huge", status=1)
    (line,) = shell.run("keys", "list", "--of", user).splitlines()
    key_id, name, state = line.split()
    assert (name, state) == ("laptop", "enabled")
    shell.run("users", "edit", user, "--disable")
    shown = json.loads(shell.run("users", "show", user))
    assert (shown["disabled"], shown["networks"], shown["name"]) == (True, ["10.0.0.0/8"], "ann")
    shell.run("users", "edit", user, "--enable", "--inherit", "networks")
    assert json.loads(shell.run("users", "show", user))["networks"] is None
    assert shell.run("keys", "rotate", key_id, "--overlap", "0") != key
    shell.run("keys", "delete", key_id)
    assert shell.run("keys", "list") == ""
    assert "hex digits" in shell.run("keys", "show", "../tenants", status=2)
    shell.run("backup", "the-backup", *STATE)
    assert (tmp_path / "the-backup").stat().st_mode & 0o777 == 0o600
    assert "not empty" in shell.run("restore", "the-backup", *STATE, status=1)
    restored = tmp_path / "restored"
    assert "rows" in shell.run("restore", "the-backup", "--state-dir", str(restored))
    assert (restored / "control.db").stat().st_mode & 0o777 == 0o600


def test_without_a_control_process_the_commands_say_what_to_do(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert "fastpath control" in shell.run("init", *STATE, status=1)
    shell.environ |= {"FASTPATH_ADMIN_KEY": "fp-x", "FASTPATH_ADMIN_URL": "http://127.0.0.1:9"}
    assert "start it" in shell.run("tenants", "list", status=1)


@pytest.mark.parametrize("url", ["http://gateway.example:8341", "ftp://localhost", "localhost:8341", ""])
def test_a_key_does_not_go_over_a_network_readable(url: str) -> None:
    with pytest.raises(ClientError):
        Client(url, Secret("fp-x"))


def test_the_admin_key_comes_from_a_private_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("fp-1\n")
    with pytest.raises(ClientError, match="chmod 600"):
        find_key({}, file)
    file.chmod(0o600)
    assert find_key({"FASTPATH_ADMIN_KEY": "fp-2"}, file) == Secret("fp-1")
    assert find_key({"FASTPATH_ADMIN_KEY": "fp-2"}, None) == Secret("fp-2")
    for environ, path in (({}, None), ({"FASTPATH_ADMIN_KEY": ""}, None), ({}, tmp_path / "none")):
        with pytest.raises(ClientError):
            find_key(environ, path)


def test_every_command_explains_itself() -> None:
    import typer

    import controlplane.commands as commands

    for name in ("init", "control", "backup", "restore", "tenants", "teams", "users", "keys"):
        app: Any = getattr(commands, name)
        assert isinstance(app, typer.Typer)
        assert typer.main.get_command(app).help


@pytest.mark.parametrize("command", ["init", "control", "backup", "restore"])
def test_a_command_without_its_libraries_says_what_to_install(command: str, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules.update(litestar=None, sqlalchemy=None); from controlplane import commands;"
        f" import typer; typer.main.get_command(commands.{command})()"
    )
    given = [str(tmp_path / "file")] if command in ("backup", "restore") else []
    done = subprocess.run(
        [sys.executable, "-c", program, *given, "--state-dir", str(tmp_path / "state")], capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"pip install 'fastpath-gateway[control]'" in done.stderr
    assert b"Traceback" not in done.stderr
