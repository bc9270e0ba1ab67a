"""`fastpath policies explain`, and what `fastpath check` says of rules that are odd."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fastpath.cli import app

FILE = f"""
data_class: P2
policy_default: deny
models:
  - name: llama
    endpoints: [{{url: "http://127.0.0.1:9001/v1", tier: L1}}, {{url: "http://127.0.0.1:9002/v1"}}]
tenants: [{{name: acme, teams: [{{name: core}}], users: [{{name: ann, team: core}}]}}]
keys: [{{name: laptop, hash: "b2:01234567:{"ab" * 32}", tenant: acme, user: ann}}]
policies:
  - {{name: core-may, effect: allow, subjects: ["team:core"], tenants: [acme]}}
  - {{name: no-cloud, effect: deny, classes: [P0, P1], tiers: [L2]}}
  - {{name: office, effect: deny, unless: {{networks: [10.0.0.0/8]}}}}
  - {{name: nights, effect: deny, times: [{{start: 22:00, end: 06:00, time_zone: Europe/Berlin}}]}}
"""
NOON = ("--from", "10.1.2.3", "--at", "2026-11-23T12:00+01:00")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fastpath.yaml"
    path.write_text(FILE)
    return path


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*arguments], terminal_width=200)
    assert done.exit_code == code, done.output
    return done.output


def test_it_says_what_may_be_and_which_rule_decides(file: Path) -> None:
    asked = ("policies", "explain", str(file), "--model", "llama", "--key", "laptop")
    said = run(*asked, *NOON)
    assert "key laptop, tenant acme, team core, user ann: llama on /v1/chat/completions, class P2" in said
    assert "may go to L1, L2: core-may" in said
    said = run(*asked, *NOON, "--class", "P0")
    assert "may go to L1, not to L2: no-cloud" in said
    assert "L1  deny   no-cloud: `tiers` does not hold" in said
    assert "L2  deny   no-cloud: holds" in said
    assert "office: is excepted by `unless`" in said
    assert "403 policy_blocked: office" in run(*asked, "--at", "2026-11-23T12:00", code=1)
    night = ("--from", "10.1.2.3", "--at", "2026-11-23T23:00+01:00")
    assert "403 policy_blocked: nights" in run(*asked, *night, code=1)
    stranger = run("policies", "explain", str(file), "--model", "llama", *NOON, code=1)
    assert "403 policy_blocked: no rule allows it, and policy_default is deny" in stranger
    assert "core-may: `subjects` does not hold" in stranger
    named = run("policies", "explain", str(file), "--model", "llama", "--tenant", "acme", "--user", "ann", *NOON)
    assert "core-may" in named


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "none"),
        ("--model", "llama", "--key", "none"),
        ("--model", "llama", "--class", "P3"),
        ("--model", "llama", "--at", "noon"),
        (),
    ],
)
def test_a_question_that_means_nothing_is_refused(file: Path, arguments: tuple[str, ...]) -> None:
    run("policies", "explain", str(file), *arguments, code=2)


def test_mistakes_in_the_file_are_shown(file: Path) -> None:
    file.write_text(FILE.replace("office", "no-cloud"))
    assert "policies[2].name: is the same as" in run("policies", "explain", str(file), "--model", "llama", code=1)


def test_check_warns_of_what_is_odd_and_takes_it(file: Path) -> None:
    file.write_text(FILE.split("tenants:")[0] + "policies: [{name: d, effect: deny}, {name: a, effect: allow}]\n")
    said = run("check", str(file))
    assert "policies[0]: has no conditions, so every request is refused" in said
    assert "policies[1]: never has an effect: policies[0] denies everything that it allows" in said
    assert "ok: 1 model" in said
