"""`fastpath policies`, run as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.controlplane.conftest import ControlProcess

MAIN = "import controlplane.policy_commands as c; c.policies(prog_name='fastpath policies')"
RULE = """
name: no-cloud
effect: deny
classes: [P0, P1]
tiers: [L2]
times: [{days: [mon], start: 09:00, end: 17:00}]
"""


class Shell:
    """Runs commands in a folder, with nothing in their environment but what is given."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **environ}

    def run(self, *command: str, status: int = 0, typed: str = "") -> str:
        """What a command prints on standard output, or, when it must fail, on standard error."""
        done = subprocess.run(
            [sys.executable, "-P", "-c", MAIN, *command], cwd=self.folder, env=self.environ, input=typed,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return (done.stderr if status else done.stdout).strip()


def test_a_rule_from_a_file_and_back(control: ControlProcess, tmp_path: Path) -> None:
    shell = Shell(tmp_path, FASTPATH_ADMIN_URL=control.url, FASTPATH_ADMIN_KEY=control.init().token)
    (tmp_path / "rule.yaml").write_text(RULE)
    policy = shell.run("add", "rule.yaml")
    assert shell.run("list").split() == [policy, "no-cloud", "deny", "enabled", "of", "the", "gateway"]
    shown = json.loads(shell.run("show", policy))
    assert (shown["tiers"], shown["classes"], shown["times"][0]["start"]) == (["L2"], ["P0", "P1"], "09:00")
    assert "is in use" in shell.run("add", "-", typed=RULE, status=1)
    (tmp_path / "other.yaml").write_text("{name: no-cloud, effect: deny, tiers: [L1, L2]}")
    shell.run("edit", policy, "--file", "other.yaml", "--disable")
    shown = json.loads(shell.run("show", policy))
    assert (shown["tiers"], shown["classes"], shown["times"], shown["disabled"]) == (["L1", "L2"], None, None, True)
    assert "hex digits" in shell.run("remove", "../keys", status=2)
    shell.run("remove", policy)
    assert shell.run("list") == ""


def test_mistakes_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    shell = Shell(tmp_path)  # with nowhere to send it to
    (tmp_path / "bad.yaml").write_text("name: a\neffect: deny\ntiers: [L9]\n")
    assert "bad.yaml:3:9: tiers[0]: must be L0, L1 or L2" in shell.run("add", "bad.yaml", status=1)
    assert "cannot be read" in shell.run("add", "none.yaml", status=1)
