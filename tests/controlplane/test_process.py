"""The control process as it runs: its start, its refusals, its memory, its end."""

import asyncio
import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import trustme

from controlplane.app import open_rooms
from controlplane.bootstrap import Ask, ask_control
from controlplane.secrets.master import CommandSource, EnvironmentSource
from controlplane.server import run
from controlplane.settings import ControlSettings, encode_control_settings, read_settings
from fastpath.settings.secret import Secret
from tests.conftest import ROOT
from tests.controlplane.conftest import ControlProcess, cast_of

MOST_MEMORY = 150_000_000
NOT_OURS = ("backends", "scheduler.picker", "fastpath.door", "fastpath.app", "fastpath.pipeline", "fastpath.runtime")


def test_it_serves_in_less_than_150_mb(start: Any) -> None:
    control: ControlProcess = start()
    cast = cast_of(control.init())
    for _ in range(20):
        cast.admin.get("/keys")
    cast.admin.get("/openapi.json")
    assert control.rss() < MOST_MEMORY, f"{control.rss() / 1e6:.0f} MB"


def test_nothing_secret_stands_in_its_arguments_or_open_files(start: Any) -> None:
    control: ControlProcess = start()
    control.init()
    process = psutil.Process(control.process.pid)
    assert process.cmdline()[1:] == ["-P", "-m", "controlplane"]
    assert not process.children()
    for path in control.state.rglob("*"):
        found = path.stat()
        assert not found.st_mode & 0o077, f"{path.name} {found.st_mode:o}"
    assert stat.S_IMODE(control.state.stat().st_mode) == 0o700
    assert {path.name for path in control.state.iterdir()} >= {"pepper", "master.key", "control.db", "control.sock"}


def test_it_ends_with_its_parent_and_removes_its_socket(start: Any) -> None:
    control: ControlProcess = start()
    assert control.process.stdin is not None
    control.process.stdin.close()
    assert control.process.wait(20) == 0
    assert not (control.state / "control.sock").exists()


def test_init_works_once_even_after_a_restart(start: Any, tmp_path: Path) -> None:
    first: ControlProcess = start()
    caller = first.init()
    assert caller.get("/me")["role"] == "admin"
    assert "made before" in ask_control(first.state, Ask()).problem
    first.end()
    second: ControlProcess = start()
    assert "made before" in ask_control(second.state, Ask("other")).problem
    assert caller.as_(caller.token).client is not second.client
    answer = second.client.get("/admin/v1/me", headers={"authorization": f"Bearer {caller.token}"})
    assert answer.status_code == 200


def test_a_second_process_on_the_same_state_is_refused(start: Any) -> None:
    first: ControlProcess = start()
    second: ControlProcess = start(wait=False)
    assert "another control process" in second.line("another control process")
    assert second.process.wait(20) == 1
    assert first.client.get("/healthz").status_code == 200


def make_state(folder: Path) -> ControlSettings:
    """A state folder as a control process leaves it."""
    settings = ControlSettings(state_dir=str(folder / "state"), port=0)

    async def begin() -> None:
        async with open_rooms(settings, {}, time.time):
            pass

    asyncio.run(begin())
    return settings


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda state: state.chmod(0o755), "chmod 700"),
        (lambda state: (state / "pepper").chmod(0o644), "chmod 600"),
        (lambda state: (state / "master.key").chmod(0o640), "chmod 600"),
        (lambda state: (state / "control.db").chmod(0o604), "chmod 600"),
        (lambda state: (state / "master.key").write_text(""), "holds no master key"),
        (lambda state: (state / "master.key").write_text("00" * 32), "random hex digits"),
        (lambda state: (state / "pepper").write_bytes(b"short"), "32 bytes"),
        (lambda state: (state / "pepper").write_bytes(b""), "32 bytes"),
        (lambda state: (state / "pepper").write_bytes(b"x" * 33), "32 bytes"),
        (lambda state: (state / "control.sock").write_text(""), "not a socket"),
    ],
)
def test_what_others_could_read_or_what_is_empty_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], spoil: Any, says: str
) -> None:
    settings = make_state(tmp_path)
    spoil(settings.folder)
    assert run(settings, {}) == 1
    assert says in capfd.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"host": "0.0.0.0"}, "can be reached by others"),
        ({"database": Secret("")}, "address is empty"),
        ({"database": Secret("mysql://u:hunter2@h/d")}, "no database of kind"),
        ({"master_key": EnvironmentSource("NOT_SET")}, "holds no master key"),
        ({"master_key": CommandSource(("false",))}, "status 1"),
        ({"master_key": CommandSource(())}, "did not run"),
        ({"cert": "x.pem"}, "needs its key"),
        ({"state_dir": ""}, "state folder is empty"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], given: Any, says: str
) -> None:
    assert run(ControlSettings(**({"state_dir": str(tmp_path / "state"), "port": 0} | given)), {}) == 1
    printed = capfd.readouterr().err
    assert says in printed
    assert "hunter2" not in printed
    assert "Traceback" not in printed


def test_a_line_that_is_no_settings_is_refused_without_repeating_it(start: Any) -> None:
    control: ControlProcess = start(wait=False, database="hunter2", unknown=1)
    assert "unknown field" in control.line("not usable")
    assert control.process.wait(20) == 1
    assert not any("hunter2" in line or "Traceback" in line for line in control.lines)


@pytest.mark.parametrize(
    ("source", "environ"),
    [
        (EnvironmentSource("MASTER"), {"MASTER": "5a" * 16 + "c3" * 16}),
        (CommandSource(("printf", "5a" * 16 + "c3" * 16)), {"PATH": os.environ["PATH"]}),
    ],
)
async def test_the_master_key_may_come_from_the_environment_or_a_command(
    tmp_path: Path, source: Any, environ: dict[str, str]
) -> None:
    settings = ControlSettings(state_dir=str(tmp_path / "state"), master_key=source)
    async with open_rooms(settings, environ, time.time):
        assert not (tmp_path / "state" / "master.key").exists()


def test_only_the_owner_or_root_may_init(start: Any, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    control: ControlProcess = start()
    for path in (control.state, *tmp_path.resolve().parents, tmp_path):
        if path.stat().st_uid == 0 and path.is_relative_to(tmp_path.parents[1]):
            path.chmod(0o755)
    (control.state / "control.sock").chmod(0o666)  # what the mode would have kept out, the kernel's word keeps out, too
    code = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); s = socket.socket(1); "
        "s.connect(sys.argv[1]); s.sendall(b'{}\\n'); print(s.makefile().readline())"
    )
    path = os.path.relpath(control.state / "control.sock", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, path], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert "as the user of the control process" in done.stdout, done.stderr
    assert control.init().token


def test_settings_come_back_from_their_line() -> None:
    settings = ControlSettings(state_dir="/s", port=1, database=Secret("postgresql://u:p@h/d"))
    line = encode_control_settings(settings)
    assert b"postgresql://u:p@h/d" in line
    assert read_settings(line) == settings
    assert "u:p@h" not in repr(settings)


def test_health_asks_for_no_key_and_everything_else_does(start: Any) -> None:
    control: ControlProcess = start()
    assert control.client.get("/healthz").json() == {"status": "ok"}
    assert control.client.get("/admin/v1/me").status_code == 401
    assert control.client.get("/openapi.json").status_code == 401
    with pytest.raises(httpx.HTTPError):
        httpx.get(control.url.replace("127.0.0.1", "127.0.0.2") + "/healthz", timeout=2)


def test_workers_rooms_are_not_loaded() -> None:
    code = "import sys, controlplane.server; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {name for name in loaded if name.startswith(NOT_OURS)}
    assert not loaded & {"faker", "polyfactory", "pydantic", "redis"}


def test_it_serves_by_https_with_a_certificate(start: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    for name, blob in (("cert.pem", leaf.cert_chain_pems[0]), ("key.pem", leaf.private_key_pem)):
        blob.write_to_path(str(tmp_path / name))
    files = {"cert": str(tmp_path / "cert.pem"), "cert_key": str(tmp_path / "key.pem")}
    control: ControlProcess = start(**files)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    answer = httpx.get(f"{control.url.replace('127.0.0.1', 'localhost')}/healthz", verify=trust, timeout=20)
    assert answer.json() == {"status": "ok"}
    assert control.url.startswith("https://")


def test_an_inherited_socket_is_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = json.dumps({"state_dir": str(tmp_path / "state"), "listen_fd": listener.fileno()})
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "controlplane"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(listener.fileno(),),
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.write(settings + "\n")
            process.stdin.flush()
            url = process.stderr.readline().split()[-1]
            assert url == f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200
            process.terminate()
            assert process.wait(20) == 0


def test_without_its_libraries_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['litestar'] = None; from controlplane.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program], input=b'{"state_dir": "/nowhere"}\n', capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"pip install 'fastpath-gateway[control]'" in done.stderr
