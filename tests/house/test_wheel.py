"""The third way of the README: the wheel in a clean environment, in an empty folder, a streamed answer. Run by CI."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.house.sources import HOME, ROOTS

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

#: From the wheel to the first token, packages cached.
GOAL = 60.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git would check out and what is new."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=HOME, text=True)
    for name in listed.splitlines():
        if (HOME / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOME / name, source / name)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", "dist", "."], cwd=source, check=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_kernels_stubs_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for kernel in (HOME / "_native").glob("*.pyx"):
        assert any(name.startswith(f"_native/{kernel.stem}.") and name.endswith(".so") for name in names)
        assert f"_native/{kernel.stem}.pyi" in names
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == set(ROOTS)
    assert {f"{root}/py.typed" for root in ROOTS} <= set(names)


def test_from_the_wheel_to_the_first_token(wheel: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    programs = tmp_path / "venv" / "bin"
    empty = tmp_path / "empty"
    empty.mkdir()
    environ = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(command, cwd=empty, env=environ, check=True)
    assert subprocess.check_output([programs / "fastpath", "version"], cwd=empty, text=True).startswith("fastpath ")
    first = stream_once(programs, empty, environ)
    assert "data: {" in first
    assert time.monotonic() - began < GOAL


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kills it when something goes wrong, so that nobody waits for it."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def stream_once(programs: Path, folder: Path, environ: dict[str, str]) -> str:
    """The first event of a streamed answer through `fastpath serve --upstream` in front of `fastpath mock`."""
    mock = [programs / "fastpath", "mock", "--port", "0", "--model", "llama", "--ttft", "0"]
    with (
        subprocess.Popen(mock, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as model_server,
        ended(model_server),
    ):
        assert model_server.stdout is not None
        url = model_server.stdout.readline().split()[-1]
        serve = [programs / "fastpath", "serve", "--upstream", url, "--port", "0", "--admin-port", "0"]
        with (
            subprocess.Popen(serve, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True) as gateway,
            ended(gateway),
        ):
            assert gateway.stderr is not None
            served = gateway.stderr.readline().partition(" serving on ")[2].split()[0]
            asked = '{"model": "llama", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
            answer = subprocess.check_output(
                ["curl", "-sN", f"{served}/v1/chat/completions", "-H", "content-type: application/json", "-d", asked],
                text=True,
                timeout=30,
            )
            gateway.terminate()
            assert gateway.wait(30) == 0
        model_server.terminate()
    assert answer.rstrip().endswith("data: [DONE]")
    return answer.partition("\n")[0]
