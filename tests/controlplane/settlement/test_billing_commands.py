"""`fastpath usage`, `invoice` and `reconcile`, run as a person runs them against a control process."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from controlplane import billing_commands
from fastpath.outbox.facts import Payer
from tests.conftest import ROOT
from tests.controlplane.conftest import Cast, ControlProcess, cast_of
from tests.controlplane.settlement.spending import PATIENCE, spend

MAIN = "import sys, controlplane.billing_commands as c; sys.argv[0] = 'fastpath'; getattr(c, sys.argv.pop(1))()"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlProcess]:
    with ControlProcess(tmp_path) as process:
        yield process


def run(control: ControlProcess, cast: Cast, *command: str, status: int = 0) -> str:
    """What a command prints on standard output, or, when it must fail, on standard error."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(control.state.parent),
        "PYTHONPATH": str(ROOT),
        "FASTPATH_ADMIN_KEY": cast.admin.token,
        "FASTPATH_ADMIN_URL": control.url,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", MAIN, *command],
        cwd=control.state.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return (done.stderr if status else done.stdout).strip()


def test_from_usage_to_an_exact_cost(control: ControlProcess, tmp_path: Path) -> None:
    cast = cast_of(control.init())
    tenant = cast.ids["tenant"]
    assert run(control, cast, "usage") == ""
    first, second = spend(control.state, Payer(tenant, cast.ids["team"], cast.ids["user"], cast.ids["key"]), 2)
    deadline = time.monotonic() + PATIENCE
    while not run(control, cast, "usage"):
        assert time.monotonic() < deadline
    head, line = run(control, cast, "usage", "--by", "model", "--tenant", tenant).splitlines()
    assert head.split() == ["name", "currency", "requests", "input_tokens", "output_tokens", "charge", "cost"]
    assert line.split() == ["gpt-x", "USD", "2", "2000", "400", "0.0000132", "0.000012"]
    (row,) = csv.DictReader(io.StringIO(run(control, cast, "usage", "--by", "key", "--csv")))
    assert row["name"] == cast.ids["key"]
    assert json.loads(run(control, cast, "usage", "--json"))["data"][0]["requests"] == 2
    shown = run(control, cast, "invoice", tenant).splitlines()
    assert shown[-1] == "0.0000132 USD in all: 0.0000132 charged, 0 refunded; providers ask 0.000012"
    assert "no such tenant" in run(control, cast, "invoice", "f" * 32, status=1)
    assert "hex digits" in run(control, cast, "invoice", "../keys", status=2)
    assert "month" in run(control, cast, "usage", "--month", "yesterday", status=1)

    statement = tmp_path / "statement.csv"
    statement.write_text(f"request,attempt,amount,currency\nreq_{first},1,0.000006,USD\n{second},1,0.000007,USD\n")
    command = ("reconcile", "--statement", str(statement), "--provider", "openai-1", "--state-dir", str(control.state))
    (one,) = csv.DictReader(io.StringIO(run(control, cast, *command)))
    assert (one["request"], one["verdict"], one["booked"], one["stated"]) == (
        second,
        "corrected",
        "0.000006",
        "0.000007",
    )
    assert run(control, cast, *command) == ""
    assert run(control, cast, "usage", "--by", "model").split()[-1] == "0.000013"
    actions = [entry["actor_name"] for entry in cast.admin.get("/audit")["data"]]
    assert actions[:2] == ["fastpath reconcile"] * 2

    statement.write_text(f"request,amount,currency\n{first},0.000008,USD\n{first},0.000008,USD\n")
    assert "the same request and attempt" in run(control, cast, *command, status=1)
    assert run(control, cast, "usage", "--by", "model").split()[-1] == "0.000015"
    statement.write_text(f"request,attempt,amount,currency\n{first},,0.000009,USD\n{first},1,0.000008,USD\n")
    assert "1 lines were not used (another_line): they say no attempt" in run(control, cast, *command, status=1)
    elsewhere = (*command, "--provider", "openai-2")
    told = run(control, cast, *elsewhere, status=1)
    assert "2 lines were not used (other_provider): the books have those attempts at another endpoint" in told
    assert run(control, cast, "usage", "--by", "model").split()[-1] == "0.000015"
    statement.write_text("request,amount,currency\nnonsense,1,USD\n")
    assert "statement.csv:2: the request is not 32 hex digits" in run(control, cast, *command, status=1)
    statement.write_text("a,b\n")
    assert "is missing" in run(control, cast, *command, status=1)
    elsewhere = (*command[:-1], str(tmp_path / "elsewhere"))
    assert "--state-dir" in run(control, cast, *elsewhere, status=1)
    assert not (tmp_path / "elsewhere" / "control.db").exists()


def test_every_command_explains_itself() -> None:
    for name in ("usage", "invoice", "reconcile"):
        app = getattr(billing_commands, name)
        assert isinstance(app, typer.Typer)
        assert typer.main.get_command(app).help
