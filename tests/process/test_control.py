"""The control process as its supervisor sees it, and what workers get of what it publishes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from _native.keytable import KeyTable, Row, build
from controlplane.secrets.master import EnvironmentSource
from controlplane.settings import read_settings
from fastpath.app import join_published
from fastpath.cli import app
from fastpath.identity.published import Published
from fastpath.process.control import LONGEST_BACKOFF, ControlChild, backoff, settings_line
from fastpath.process.policy import Policy, find_clashes, join, make_nobody
from fastpath.process.reload import keep_fixed
from fastpath.settings import AdminIssuer, Control, Key, Settings, Tenant, encode_settings
from fastpath.settings import Grant as AdminGrant
from fastpath.settings import Policy as Rule
from fastpath.settings.control import Webhook
from fastpath.settings.file import SettingsError, load
from fastpath.settings.policies import Effect
from fastpath.settings.roster import Grant, Roster, encode_roster
from fastpath.settings.secret import Secret
from scheduler.clock import SystemClock

ROOT = Path(__file__).parent.parent.parent
PEPPER = "00000000"
NOBODY = make_nobody(PEPPER)


class Reaper:
    """Collects children as the fleet does."""

    def __init__(self) -> None:
        self.started: list[int] = []

    def expect_exit(self, pid: int) -> "asyncio.Future[int]":
        self.started.append(pid)
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()

        async def wait() -> None:
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            exited.set_result(os.waitstatus_to_exitcode(status))

        exited.task = loop.create_task(wait())  # type: ignore[attr-defined]  # keeps it alive as long as the future
        return exited


def child(code: str, said: list[str], environ: dict[str, str] | None = None, line: bytes = b"{}\n") -> ControlChild:
    command = (sys.executable, "-c", code)
    return ControlChild(line, environ or dict(os.environ), SystemClock(), said.append, command)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


SERVES = "import sys; print('fastpath control serving on http://x:1', file=sys.stderr, flush=True); sys.stdin.read()"


async def test_it_serves_says_where_once_and_ends_with_its_input() -> None:
    said: list[str] = []
    kept, reaper = child(SERVES, said), Reaper()
    running = asyncio.create_task(kept.run(reaper.expect_exit))
    await until(lambda: kept.url)
    assert (kept.url, said) == ("http://x:1", ["control on http://x:1"])
    await kept.stop()
    await running
    assert kept.url == ""
    assert said == ["control on http://x:1"]


async def test_one_that_dies_is_started_again_and_its_words_are_told() -> None:
    said: list[str] = []
    kept, reaper = child("import sys; sys.exit('no such database')", said), Reaper()
    running = asyncio.create_task(kept.run(reaper.expect_exit))
    await until(lambda: len(reaper.started) == 2)
    await kept.stop()
    await running
    assert said[:2] == [
        "no such database",
        "the control process is gone and will be started again, traffic goes on: it exited with status 1",
    ]


async def test_it_gets_its_settings_and_nothing_of_the_environment_but_its_master_key(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"import os, sys; open({str(told)!r}, 'w').write(sys.stdin.readline() + repr(sorted(os.environ)))"
    environ = {"PATH": os.environ["PATH"], "UPSTREAM_KEY": "canary", "FASTPATH_MASTER_KEY": "ab"}
    said: list[str] = []
    kept, reaper = child(code, said, environ, b"the line\n"), Reaper()
    running = asyncio.create_task(kept.run(reaper.expect_exit))
    await until(lambda: said)
    await kept.stop()
    await running
    line, names = told.read_text().splitlines()
    assert line == "the line"
    assert {"FASTPATH_MASTER_KEY", "PATH"} <= set(eval(names))
    assert "UPSTREAM_KEY" not in names


async def test_hurry_ends_one_that_does_not_mind() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    kept, reaper = child(code, []), Reaper()
    running = asyncio.create_task(kept.run(reaper.expect_exit))
    await until(lambda: reaper.started)
    stopping = asyncio.create_task(kept.stop())
    await asyncio.sleep(0)
    kept.hurry()
    began = time.monotonic()
    await asyncio.gather(stopping, running)
    assert time.monotonic() - began < 10  # STOP_WITHIN would be 15


def test_the_pauses_grow_to_half_a_minute() -> None:
    assert [backoff(deaths) for deaths in (0, 1, 2, 3)] == [0.0, 0.5, 1.0, 2.0]
    assert backoff(60) == LONGEST_BACKOFF


def test_its_settings_line_is_one_that_the_control_process_reads() -> None:
    control = Control(port=1234, database=Secret("sqlite:////x"))
    read = read_settings(settings_line(control, Path("/state"), {"FASTPATH_MASTER_KEY": "x"}))
    assert (read.state_dir, read.host, read.port, read.end_with_stdin) == ("/state", "127.0.0.1", 1234, True)
    assert read.database is not None
    assert read.database.reveal() == "sqlite:////x"
    assert read.master_key == EnvironmentSource("FASTPATH_MASTER_KEY")
    bare = read_settings(settings_line(Control(), Path("/state"), {}))
    assert (bare.database, bare.webhooks, bare.allow_hosts) == (None, (), ())


def test_webhooks_go_to_the_control_process_with_their_secrets_and_to_no_worker() -> None:
    hook = Webhook(name="pager", url="https://hooks.example/", secret=Secret("whsec_" + "A" * 44))
    control = Control(webhooks=(hook,), allow_hosts=("hooks.example",))
    read = read_settings(settings_line(control, Path("/state"), {}))
    assert (read.webhooks, read.allow_hosts) == ((hook,), ("hooks.example",))
    joined = join(Settings(control=control), None, NOBODY)
    assert b"whsec_" not in encode_settings(joined.settings)
    assert "AAAA" not in repr(control)


def test_its_settings_line_says_whose_tokens_administrators_may_send() -> None:
    grants = (AdminGrant(scope="chiefs", role="tenant-admin", tenant="acme"), AdminGrant(scope="root", role="admin"))
    issuer = AdminIssuer(name="corp", issuer="https://a.test", audience=("admin",), leeway=5, grants=grants)
    line = settings_line(Control(issuers=(issuer,)), Path("/state"), {})
    assert read_settings(line).issuers == (issuer,)


def test_a_node_without_it_loads_nothing_for_it() -> None:
    code = "import sys, fastpath.process.supervisor; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"cryptography", "fastpath.publication", "fastpath.process.plane", "controlplane", "sqlalchemy"}


def policy(digests: list[int], *tenants: str, rules: tuple[Rule, ...] = ()) -> Policy:
    """Keys of the first tenant."""
    table = KeyTable.open(build([Row(bytes([digest] * 32), bytes(16)) for digest in digests], PEPPER))
    roster = Roster(tuple(Tenant(name=name) for name in tenants), tenants, grants=(Grant(),), policies=rules)
    return Policy(encode_roster(roster), Published(roster, [table]))


def test_workers_get_the_file_as_it_is_and_the_roster_beside_it() -> None:
    mine = Key(name="mine", hash=f"b2:{PEPPER}:{'04' * 32}")
    of_file = Settings(keys=(mine,), tenants=(Tenant(name="acme"),), control=Control(port=1))
    published = policy([1, 2], "acme", "other")
    given = join(of_file, published, NOBODY)
    assert given.settings == replace(of_file, control=Control())
    assert given.roster == published.roster
    another = join(of_file, policy([1], "third"), NOBODY)
    assert another.settings == given.settings  # so that workers compile nothing anew


def test_what_the_file_has_too_is_told() -> None:
    of_file = Settings(keys=(Key(name="mine", hash=f"b2:{PEPPER}:{'04' * 32}"),), tenants=(Tenant(name="acme"),))
    clashes = find_clashes(of_file, policy([1, 4], "acme", "other"))
    assert [clash.split(" of the")[0] for clash in clashes] == ["tenant acme", "key mine"]
    assert find_clashes(of_file, policy([1], "other")) == find_clashes(of_file, None) == ()


def test_rules_of_both_hold_but_for_those_of_a_tenant_that_the_file_has_too() -> None:
    def rule(name: str, effect: Effect = "deny", owner: str | None = None) -> Rule:
        return Rule(name=name, effect=effect, owner=owner)

    rules = (rule("same"), rule("acme/own", owner="acme"), rule("other/own", owner="other"), rule("wide", "allow"))
    published = policy([], rules=rules)
    of_file = Settings(policies=(rule("same"),), tenants=(Tenant(name="acme"),))
    joined = join_published(of_file, published.published)
    assert [each.name for each in joined.policies] == ["same", "same", "other/own", "wide"]
    assert [clash.split(" of the")[0] for clash in find_clashes(of_file, published)] == ["policy same", "policy wide"]
    strict = find_clashes(replace(of_file, policy_default="deny"), published)
    assert [clash.split(" of the")[0] for clash in strict] == ["policy same"]
    assert join_published(of_file, None).policies == of_file.policies


@pytest.mark.parametrize("published", [None, policy([])])
def test_without_any_key_nobody_may_call_and_not_everybody(published: Policy | None) -> None:
    of_file = Settings(control=Control(database=Secret("sqlite:////x")))
    given = join(of_file, published, NOBODY).settings
    assert given.keys == (NOBODY,)
    assert given.control == Control()  # that there is one, and nothing about it


def test_it_changes_only_with_a_restart() -> None:
    running, wanted = Settings(control=Control()), Settings()
    assert keep_fixed(running, wanted) == (replace(wanted, control=Control()), ["control"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("control: {port: 8341}", "control.port: is listen.admin_port too"),
        ("control: {port: 8340}", "control.port: is listen.port too"),
        ("{control: {}, listen: {port: 8342}}", "control.port: is listen.port too"),
        ("control: {host: 0.0.0.0}", "control.host: can be reached by others"),
        ("control: {database: 'mysql://x/y'}", "control.database: must be sqlite"),
        ("{control: null, listen: {host: 0.0.0.0}}", "listen.host: is reachable from other machines"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(text, {})
    assert says in str(refused.value)


def test_with_it_keys_are_asked_for_so_other_machines_may_be_served() -> None:
    assert load("{control: {}, listen: {host: 0.0.0.0}}", {}).control == Control()
    assert load("{control: {}, listen: {host: 127.0.0.1}}", {}, overrides={"control": None}).control is None


def test_the_flag_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []

    def run(source: Callable[[], Settings], watch: Path) -> int:
        served.append(source())
        return 0

    monkeypatch.setattr("fastpath.process.supervisor.run", run)
    path = tmp_path / "fastpath.yaml"
    path.write_text("control: {}")
    for flags in ([], ["--no-control"]):
        assert CliRunner().invoke(app, ["serve", "--config", str(path), *flags]).exit_code == 0
    assert [settings.control for settings in served] == [Control(), None]


def test_keys_of_the_admin_api_are_below_the_built_in_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "fp_test_keys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fp-test-keys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fastpath.commands]\nkeys = controlplane.commands:keys\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = CliRunner().invoke(app, ["keys", "--help"]).output
    assert all(name in shown for name in ("new", "hash", "create", "rotate", "list", "delete"))
    assert "--overlap" in CliRunner().invoke(app, ["keys", "rotate", "--help"]).output
    made = CliRunner().invoke(app, ["keys", "new", "--state-dir", str(tmp_path / "state")])
    assert made.output.startswith("fp-")
