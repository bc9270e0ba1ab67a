"""The command line as a person meets it: output, messages, exit codes."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from typer.testing import CliRunner

import fastpath
from fastpath.cli import app
from fastpath.identity.keys import KeyTable
from fastpath.settings import Key, Settings
from fastpath.settings.file import SettingsError
from fastpath.settings.pepper import read_pepper
from fastpath.settings.source import SettingsSource
from fastpath.settings.token import KeyHasher

Run = Callable[..., subprocess.CompletedProcess[str]]

FILE = """\
listen: {{host: 127.0.0.1, port: 8340}}
state_dir: state
keys:
  - {{name: ci, hash: "{hash}", models: [llama]}}
models:
  - name: llama
    endpoints:
      - {{url: "http://127.0.0.1:9001/v1", api_key: "${{UPSTREAM_KEY}}", tier: L1}}
"""
CANARY = "sk-canary-7f3a"


@pytest.fixture
def good(run: Run, tmp_path: Path) -> Path:
    """A settings file whose hash was made by the command beside it."""
    hashed = run("keys", "hash", "--state-dir", "state", stdin="a-key\n").stdout.strip()
    path = tmp_path / "f.yaml"
    path.write_text(FILE.format(hash=hashed))
    return path


def test_version_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from typer.testing import CliRunner; from fastpath.cli import app\n"
    code += "print(CliRunner().invoke(app, ['version']).output.strip())\n"
    code += "print([m for m in ('msgspec', 'yaml', 'granian', 'uvloop', 'asyncio', 'aiodns') if m in sys.modules])"
    home = str(Path(fastpath.__file__).resolve().parents[1])
    environ = {**os.environ, "PYTHONPATH": home}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"fastpath {fastpath.__version__}\n[]\n", done.stderr


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("serve", "check", "keys", "schema", "mock", "demo", "version"):
        assert re.search(rf"\b{name}\b", done.stdout)


def test_check_of_a_good_file_sums_it_up_and_shows_no_key(run: Run, good: Path) -> None:
    done = run("check", "f.yaml", UPSTREAM_KEY=CANARY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok: 1 model, 1 endpoint, 1 key; callers on 127.0.0.1:8340, admin on 127.0.0.1:8341\n"


def test_check_shows_every_mistake_with_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(FILE.format(hash="<made by: fastpath keys hash>") + "wrokers: 2\n")
    done = run("check", "f.yaml")
    assert done.returncode == 1
    assert [line.split(": ")[:2] for line in done.stdout.splitlines()] == [
        ["f.yaml:4:22", "keys[0].hash"],
        ["f.yaml:8:52", "models[0].endpoints[0].api_key"],
        ["f.yaml:9:1", "wrokers"],
    ]
    assert "3 mistakes in f.yaml" in done.stderr


def test_check_never_shows_what_the_environment_holds(run: Run, good: Path) -> None:
    good.write_text(good.read_text().replace("tier: L1", 'tier: "${UPSTREAM_KEY}"'))
    done = run("check", "f.yaml", UPSTREAM_KEY=CANARY)
    assert done.returncode == 1
    assert "tier: must be L0, L1 or L2" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_check_refuses_a_hash_of_another_pepper_and_says_so(run: Run, good: Path) -> None:
    run("keys", "new", "--state-dir", "other")
    done = run("check", "f.yaml", "--state-dir", "other", UPSTREAM_KEY=CANARY)
    assert done.returncode == 1
    assert done.stdout.startswith("f.yaml:4:22: keys[0].hash: was made under another pepper than the one in other")


def test_check_makes_no_pepper(run: Run, good: Path, tmp_path: Path) -> None:
    done = run("check", "f.yaml", "--state-dir", "fresh", UPSTREAM_KEY=CANARY)
    assert done.returncode == 1
    assert "fresh has no pepper" in done.stdout
    assert not (tmp_path / "fresh").exists()


def test_check_refuses_a_pepper_that_others_may_read(run: Run, good: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "pepper").chmod(0o644)
    done = run("check", "f.yaml", UPSTREAM_KEY=CANARY)
    assert done.returncode == 1
    assert "f.yaml:2:12: state_dir: state/pepper can be used by others (mode 644): chmod 600" in done.stdout


def test_check_of_no_file_says_so(run: Run) -> None:
    done = run("check", "none.yaml")
    assert (done.returncode, done.stdout) == (1, "none.yaml: cannot be read: No such file or directory\n")


def test_a_new_key_opens_the_door_it_was_made_for(run: Run, tmp_path: Path) -> None:
    done = run("keys", "new", "--name", "ci", "--state-dir", "state")
    token, line = done.stdout.splitlines()
    assert re.fullmatch(r"fp-[0-9a-f]{8}-[0-9a-f]{64}", token)
    (hashed,) = re.findall(r'^- \{name: "ci", hash: "(b2:[0-9a-f:]+)"\}$', line)
    assert token not in done.stderr
    pepper = read_pepper(tmp_path / "state")
    assert pepper is not None
    table = KeyTable([Key(name="ci", hash=hashed)], KeyHasher(pepper))
    assert table.find(f"Bearer {token}".encode()) is not None
    assert table.find(f"Bearer {token[:-1]}".encode()) is None
    (tmp_path / "f.yaml").write_text(f"state_dir: state\nkeys:\n{line}\n")
    assert run("check", "f.yaml").returncode == 0


def test_the_first_keys_command_makes_a_private_pepper(run: Run, tmp_path: Path) -> None:
    assert run("keys", "hash", "--state-dir", "state", stdin="k").returncode == 0
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("state", "state/pepper")]
    assert modes == [0o700, 0o600]


def test_a_key_is_named_by_its_public_id_when_it_has_no_name(run: Run) -> None:
    token, line = run("keys", "new", "--state-dir", "state").stdout.splitlines()
    assert f'name: "{token.split("-")[1]}"' in line


def test_a_name_that_would_break_the_file_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("keys", "new", "--name", 'a", x: "', "--state-dir", "state")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--name must be" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("stdin", ["", "\n", "two words\n", "a\nb\n", "é\n", "a" * 513])
def test_what_is_no_key_is_not_hashed(run: Run, stdin: str) -> None:
    done = run("keys", "hash", "--state-dir", "state", stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert "visible ASCII" in done.stderr


def test_a_typed_key_is_not_echoed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    home = str(Path(fastpath.__file__).resolve().parents[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "fastpath.cli", "keys", "hash", "--state-dir", "state"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": home},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        os.close(theirs)
        shown = b""
        while not shown.endswith(b": "):  # the blank comes once the echo is off
            shown += os.read(ours, 1024)
        os.write(ours, f"{CANARY}\n".encode())
        printed, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    pepper = read_pepper(tmp_path / "state")
    assert pepper is not None
    assert printed.decode().strip().splitlines()[-1] == KeyHasher(pepper).hash_text(CANARY)
    assert CANARY.encode() not in shown + printed


def test_schema_prints_a_json_schema(run: Run) -> None:
    schema = json.loads(run("schema").stdout)
    assert schema["$defs"]["Settings"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "either --config FILE or --upstream URL"),
        (["--config", "f.yaml", "--upstream", "http://a/v1"], 2, "either --config FILE or --upstream URL"),
        (["--upstream", "http://a/v1", "--port", "70000"], 2, "less than or equal to 65535"),
        (["--upstream", "nonsense"], 1, "models[0].endpoints[0].url: must begin with http://"),
        (["--upstream", "http://a/v1", "--host", "0.0.0.0"], 1, "listen.host: is reachable from other machines"),
        (["--config", "none.yaml"], 1, "none.yaml: cannot be read"),
    ],
)
def test_serve_refuses_before_anything_starts(run: Run, arguments: list[str], code: int, message: str) -> None:
    done = run("serve", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in re.sub(r"[\s│]+", " ", done.stderr)


def test_check_says_where_callers_connect(run: Run, tmp_path: Path) -> None:
    for listen, place in (
        ("{unix: run/door}", "unix:run/door"),
        ("{door: native, tls: {cert: c, key: k}}", "127.0.0.1:8340"),
    ):
        (tmp_path / "f.yaml").write_text(f"listen: {listen}\n")
        done = run("check", "f.yaml")
        assert done.returncode == 0
        assert f"callers on {place}, admin on 127.0.0.1:8341" in done.stdout


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SettingsSource, Path | None]]:
    """Stands in for the process that serves; keeps what it was called with and exits with 7."""
    calls: list[tuple[SettingsSource, Path | None]] = []
    module = ModuleType("fastpath.process.supervisor")
    module.run = lambda load, watch=None: calls.append((load, watch)) or 7  # type: ignore[attr-defined]  # a double
    monkeypatch.setitem(sys.modules, "fastpath.process.supervisor", module)
    return calls


def test_serve_hands_over_a_source_that_reads_anew(
    supervisor: list[tuple[SettingsSource, Path | None]], tmp_path: Path
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("workers: 3\nlisten: {port: 1, host: 0.0.0.0}\n")
    flags = ["--port", "9000", "--admin-port", "9001", "--door", "granian", "--insecure", "--state-dir", "/s"]
    done = CliRunner().invoke(app, ["serve", "--config", str(path), *flags])
    assert (done.exit_code, done.output) == (7, "")
    ((load, watch),) = supervisor
    assert watch == path
    settings = load()
    listen = settings.listen
    assert (settings.workers, settings.state_dir, listen.port, listen.admin_port) == (3, "/s", 9000, 9001)
    assert (listen.host, listen.door, listen.insecure) == ("0.0.0.0", "granian", True)
    path.write_text("workers: 4\n")
    assert (load().workers, load().listen.port) == (4, 9000)
    path.write_text("workers: none\n")
    with pytest.raises(SettingsError):
        load()
    path.write_text("listen: {door: native}\n")
    assert load().listen.door == "granian"


def test_serve_of_an_upstream_takes_its_key_from_the_environment(
    supervisor: list[tuple[SettingsSource, Path | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPATH_UPSTREAM_KEY", CANARY)
    done = CliRunner().invoke(app, ["serve", "--upstream", "http://127.0.0.1:1/v1", "--workers", "2"])
    assert done.exit_code == 7
    ((load, watch),) = supervisor
    settings: Settings = load()
    assert (watch, settings.workers, settings.models[0].name) == (None, 2, "*")
    key = settings.models[0].endpoints[0].api_key
    assert key is not None
    assert key.reveal() == CANARY
    assert CANARY not in repr(settings)


def test_mock_serves_the_models_it_was_told_and_logs(tmp_path: Path) -> None:
    home = str(Path(fastpath.__file__).resolve().parents[1])
    flags = ["--port", "0", "--model", "a", "--model", "b", "--tokens", "2", "--log", "log"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastpath.cli", "mock", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": home},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        listed = json.loads(httpx.get(f"{url}/models").content)
        asked = {"model": "b", "messages": [{"role": "user", "content": "hi"}]}
        answer = httpx.post(f"{url}/chat/completions", json=asked).json()
    finally:
        process.terminate()
    assert process.wait(10) == 0
    assert [model["id"] for model in listed["data"]] == ["a", "b"]
    assert answer["usage"]["completion_tokens"] == 2
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["model"] == "b"


def test_the_reference_page_names_every_command_and_flag() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text()
    flags = CliRunner().invoke(app, ["serve", "--help"]).output + CliRunner().invoke(app, ["mock", "--help"]).output
    for flag in set(re.findall(r"--[a-z-]+", flags)) - {"--help"}:
        assert f"{flag}" in page, flag
    for name in ("serve", "check", "keys new", "keys hash", "schema", "mock", "demo", "version"):
        assert f"`fastpath {name}" in page


PRICED = """
prices: prices.yaml
tenants: [{name: acme, currency: CNY}]
models:
  - {name: llama, endpoints: [{url: "http://127.0.0.1:9001/v1", provider: own, tier: L1}]}
"""
PRICES = """
providers:
  - {provider: own, currency: USD, source: ours, read: 2026-01-01, prices: [{model: llama, from: 2026-01-01, input: 1}]}
rates:
  - {from: USD, to: CNY, date: 2026-01-01, rate: 7.1}
"""


def test_check_reads_the_price_list_and_misses_a_rate(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(PRICED)
    (tmp_path / "prices.yaml").write_text(PRICES)
    done = run("check", "f.yaml")
    assert done.returncode == 0, done.stdout
    (tmp_path / "prices.yaml").write_text(PRICES.replace("to: CNY", "to: EUR"))
    done = run("check", "f.yaml")
    assert done.returncode == 1
    assert done.stdout.startswith("settings: tenants[0].currency: no rate from USD to CNY is known on ")
    (tmp_path / "prices.yaml").write_text(PRICES.replace("input: 1", "input: -1"))
    done = run("check", "f.yaml")
    assert done.returncode == 1
    assert done.stdout == "prices: prices.yaml:3 (own/llama from 2026-01-01): input must not be negative\n"
    (tmp_path / "prices.yaml").unlink()
    assert "prices.yaml: cannot be read: No such file" in run("check", "f.yaml").stdout
