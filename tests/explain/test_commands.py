"""`fastpath explain` and `fastpath route explain`, as an administrator runs them."""

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fastpath.cli import app
from fastpath.explain.decision import name_of
from fastpath.settings.private import make_private_folder
from scheduler.choice import Choice, Scored
from tests.explain.decided import keep_decisions, make_decision

SETTINGS = """
data_class: P2
tenants: [{name: acme}]
keys: [{name: narrow, hash: "b2:01234567:HASH", models: [big], tenant: acme}]
policies: [{name: no-cloud, effect: deny, tiers: [L2], classes: [P0]}]
models:
  - name: llama
    endpoints:
      - {name: rack, url: "http://127.0.0.1:1/v1", tier: L1}
  - name: big
    endpoints:
      - {name: cloud, url: "https://cloud.invalid/v1", tier: L2}
  - name: mixed
    endpoints:
      - {name: away, url: "https://cloud.invalid/v1", tier: L2}
      - {name: home, url: "http://127.0.0.1:1/v1", tier: L1}
  - name: two
    endpoints:
      - {name: one, url: "http://127.0.0.1:1/v1", tier: L1}
      - {name: other, url: "http://127.0.0.1:2/v1", tier: L1}
""".replace("HASH", "0" * 64)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    make_private_folder(folder)
    return folder


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def ask(folder: Path, model: str, *options: str) -> tuple[int, str]:
    (folder / "fastpath.yaml").write_text(SETTINGS)
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    (folder / "request.json").write_text(json.dumps(body))
    files = ("--config", str(folder / "fastpath.yaml"), "--request", str(folder / "request.json"))
    return run("route", "explain", *files, *options)


def test_a_record_is_told(state: Path) -> None:
    decision = make_decision(os.urandom(16), time.time())
    keep_decisions(state, [decision])
    code, told = run("explain", name_of(decision.request), "--state-dir", str(state))
    assert code == 0
    for part in (
        "tenant acme, team search, user ada, key ada-key",
        "class     P1, from the request",
        "safety      dropped cloud (tier)",
        "capability  dropped nobody",
        "llama -> rack-1, by score, strategy balanced",
        "0.8833",
        "by rack-1, tier L1, region eu, version 3.3, after 1 attempt",
        "12 in, 34 out",
        "0.0015 EUR",
        "812.5 ms, first token after 96.2 ms, 81 us of it in the gateway",
        "200 complete",
    ):
        assert part in told
    code, text = run("explain", name_of(decision.request), "--state-dir", str(state), "--json")
    assert code == 0
    assert json.loads(text)["choices"][0]["scored"][0]["total"] == 0.8833


def test_a_replay_says_whether_it_is_the_same(state: Path) -> None:
    good = make_decision(os.urandom(16), time.time())
    scored = (Scored("rack-1", 1, 1, 1, 1, 0.5), Scored("rack-2", 1, 1, 1, 1, 0.6))
    forged = make_decision(os.urandom(16), time.time(), choices=(Choice("llama", "rack-1", "score", scored=scored),))
    refused = make_decision(os.urandom(16), time.time(), choices=())
    keep_decisions(state, [good, forged, refused])
    replies = [
        run("explain", name_of(each.request), "--state-dir", str(state), "--replay") for each in (good, forged, refused)
    ]
    assert [code for code, _ in replies] == [0, 1, 0]
    assert "choice 1: rack-1, the same" in replies[0][1]
    assert "choice 1: rack-2, DIFFERENT: recorded rack-1" in replies[1][1]
    assert "nothing to replay" in replies[2][1]


def test_what_is_not_there_is_said(state: Path) -> None:
    keep_decisions(state, [make_decision(os.urandom(16))])
    assert run("explain", "req_" + "0" * 32, "--state-dir", str(state))[0] == 1
    assert "an id is req_" in run("explain", "nonsense", "--state-dir", str(state))[1]
    assert "holds no decisions" in run("explain", "req_" + "0" * 32, "--state-dir", str(state / "none"))[1]
    assert run("explain", "req_" + "0" * 32, "--url", "http://127.0.0.1:1", "--replay")[0] == 2
    assert (
        "plain HTTP"
        in CliRunner()
        .invoke(app, ["explain", "req_" + "0" * 32, "--url", "http://192.0.2.1:1"], env={"FASTPATH_ADMIN_KEY": "x"})
        .output
    )


def test_a_request_is_rehearsed(tmp_path: Path) -> None:
    code, told = ask(tmp_path, "llama")
    assert (code, told.splitlines()[0]) == (0, "llama would go to rack, tier L1; nothing was sent")
    code, text = ask(tmp_path, "two", "--json", "--tenant", "acme")
    assert code == 0
    assert json.loads(text)["choices"][0]["reason"] == "picker"
    code, told = ask(tmp_path, "mixed", "--header", "x-fastpath-data-class:P0")
    assert code == 0
    assert "mixed -> home, by only" in told
    assert "safety      dropped away (tier)" in told


def test_what_would_be_refused_is_refused(tmp_path: Path) -> None:
    code, told = ask(tmp_path, "big", "--header", "x-fastpath-data-class: P0")
    assert code == 1
    assert "policy_blocked" in told
    assert ask(tmp_path, "big")[0] == 0
    code, told = ask(tmp_path, "llama", "--key", "narrow")
    assert code == 1
    assert "model_not_found" in told
    code, told = ask(tmp_path, "llama", "--key", "nobody")
    assert code == 1
    assert "no key nobody" in told
    assert ask(tmp_path, "llama", "--tenant", "nobody")[0] == 1
    assert ask(tmp_path, "llama", "--header", "nonsense")[0] == 2
