"""`fastpath models` and `fastpath endpoints`, run as a person runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.controlplane.conftest import ControlProcess

MAIN = "import controlplane.registry_commands as c; c.{group}(prog_name='fastpath {group}')"
CANARY = "sk-canary-of-commands"
ENDPOINT = "name: a\nurl: http://127.0.0.1:9/v1\napi_key: ${RACK_KEY}\ntier: L1\nprice: {input: 1.5}\n"


class Shell:
    """Runs commands in a folder, with nothing in their environment but what is given."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **environ}

    def run(self, group: str, *command: str, status: int = 0) -> str:
        """What a command prints on standard output, or, when it must fail, on standard error."""
        done = subprocess.run(
            [sys.executable, "-P", "-c", MAIN.format(group=group), *command], cwd=self.folder, env=self.environ,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        assert CANARY not in done.stdout + done.stderr
        return (done.stderr if status else done.stdout).strip()


def test_a_model_and_an_endpoint_from_files_and_back(control: ControlProcess, tmp_path: Path) -> None:
    api = control.init()
    shell = Shell(tmp_path, FASTPATH_ADMIN_URL=control.url, FASTPATH_ADMIN_KEY=api.token, RACK_KEY=CANARY)
    (tmp_path / "model.yaml").write_text("name: small\ntimeouts: {idle: 5}\n")
    (tmp_path / "endpoint.yaml").write_text(ENDPOINT)
    model = shell.run("models", "add", "model.yaml")
    assert shell.run("models", "list").split() == [model, "small", "0", "endpoints", "api"]
    made = shell.run("endpoints", "add", "endpoint.yaml", "--model", "small")
    assert shell.run("endpoints", "list").split()[:5] == [made, "small/a", "api", "active", "Unknown"]
    shown = json.loads(shell.run("endpoints", "show", "small/a"))
    assert (shown["id"], shown["has_key"], shown["fields"]["price"]["input"]) == (made, True, 1.5)
    assert json.loads(shell.run("models", "show", model))["fields"] == {"timeouts": {"idle": 5}}
    shell.run("endpoints", "drain", made)
    assert "draining" in shell.run("endpoints", "list", "--model", "small")
    shell.run("endpoints", "resume", "small/a")
    (tmp_path / "other.yaml").write_text("name: b\nurl: http://127.0.0.1:9/v1\nchip: h100\n")
    shell.run("endpoints", "edit", "small/a", "--file", "other.yaml")
    shown = json.loads(shell.run("endpoints", "show", "small/b"))
    assert (shown["fields"], shown["has_key"]) == ({"url": "http://127.0.0.1:9/v1", "chip": "h100"}, True)
    shell.run("endpoints", "edit", "small/b", "--api-key-env", "RACK_KEY")
    assert "is not set" in shell.run("endpoints", "edit", "small/b", "--api-key-env", "NONE", status=2)
    (tmp_path / "model.yaml").write_text("name: tiny\n")
    shell.run("models", "edit", "small", "--file", "model.yaml")
    assert json.loads(shell.run("models", "show", "tiny"))["fields"] == {}
    assert "remove those first" in shell.run("models", "remove", "tiny", status=1)
    shell.run("endpoints", "remove", "tiny/b")
    shell.run("models", "remove", "tiny")
    assert shell.run("models", "list") == ""


def test_mistakes_are_told_with_their_line_before_anything_is_sent(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    (tmp_path / "bad.yaml").write_text("name: a\nurl: http://127.0.0.1:9/v1\ntier: L9\n")
    assert "bad.yaml:3:7: tier" in shell.run("endpoints", "add", "bad.yaml", "--model", "m", status=1)
    (tmp_path / "bad.yaml").write_text(ENDPOINT)  # and RACK_KEY is not set
    assert "bad.yaml:3" in shell.run("endpoints", "add", "bad.yaml", "--model", "m", status=1)
    (tmp_path / "bad.yaml").write_text("url: http://127.0.0.1:9/v1\n")
    assert "name: is missing" in shell.run("endpoints", "add", "bad.yaml", "--model", "m", status=1)
    assert "cannot be read" in shell.run("models", "add", "none.yaml", status=1)
    (tmp_path / "bad.yaml").write_text("name: m\nendpoints: [{url: 'http://127.0.0.1:9/v1'}]\n")
    assert "one by one" in shell.run("models", "add", "bad.yaml", status=1)
