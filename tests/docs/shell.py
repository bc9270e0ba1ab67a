"""Runs the blocks of one page the way a reader does: one folder, one terminal, more terminals for what keeps running.

Ports that the documents name are replaced by free ones, so that pages disturb nobody; nothing else is changed.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from loadtest.ports import free_ports
from tests.docs.pages import HOME, Block

PORTS = (8340, 8341, 8342, 9001, 9002)
PATIENCE = 60.0
#: What a program prints once it serves.
READY = re.compile(r"serving on |mock model server on |Serving HTTP on ")

FASTPATH = """\
#!/bin/sh
case " $* " in
    " serve "*" --port "*) ;;
    " serve "*) set -- "$@" --port {port} --admin-port {admin} ;;
esac
exec {python} -m fastpath.cli "$@"
"""


class Terminal:
    """One page's folder, environment and running programs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._programs: list[subprocess.Popen[str]] = []
        self._environ = self._make_environ()

    def run(self, block: Block) -> None:
        """Runs one block; raises AssertionError with what it printed when it fails."""
        if block.file is not None:
            (self._folder / block.file).write_text(self._rewritten(block.text))
        elif block.mark == "background":
            self._start(block)
        elif block.mark == "instead":
            self.close()
            self._start(block)
        else:
            self._finish(block)

    def close(self) -> None:
        """Ends what runs, newest first."""
        while self._programs:
            end(self._programs.pop())

    def _finish(self, block: Block) -> None:
        done = subprocess.run(
            self._command(block),
            cwd=self._place(block),
            env=self._environ | ({"MAKEFLAGS": "n"} if block.mark == "dry" else {}),
            input=None if block.language != "python" else self._rewritten(block.text),
            stdin=subprocess.DEVNULL if block.language != "python" else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}: {block.text}\n{done.stdout}\n{done.stderr}"

    def _start(self, block: Block) -> None:
        program = subprocess.Popen(
            self._command(block),
            cwd=self._place(block),
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._programs.append(program)
        lines: list[str] = []
        assert any(READY.search(line) for line in reading(program, lines)), f"line {block.line}: {lines}"
        threading.Thread(target=lambda: list(reading(program, lines)), daemon=True).start()

    def _command(self, block: Block) -> list[str]:
        if block.language == "python":
            return [sys.executable, "-"]
        return ["bash", "-euo", "pipefail", "-c", self._rewritten(block.text)]

    def _place(self, block: Block) -> Path:
        return HOME if block.text.lstrip().startswith("make ") else self._folder

    def _rewritten(self, text: str) -> str:
        return re.sub("|".join(map(str, PORTS)), lambda found: str(self._ports[int(found[0])]), text)

    def _make_environ(self) -> dict[str, str]:
        programs = self._folder / ".bin"
        programs.mkdir()
        port, admin = self._ports[8340], self._ports[8341]
        script = programs / "fastpath"
        script.write_text(FASTPATH.format(python=sys.executable, port=port, admin=admin))
        script.chmod(0o755)
        return {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "PYTHONPATH": str(HOME),
            "LANG": "C.UTF-8",
            # What `make` sets up is there already: these tests run in it.
            "SETUP": "true",
            "VENV": sys.prefix,
            "PORT": str(port),
            "ADMIN_PORT": str(admin),
        }


def reading(program: "subprocess.Popen[str]", lines: list[str]) -> Iterator[str]:
    """Lines as they are printed, kept in `lines` too."""
    assert program.stdout is not None
    for line in program.stdout:
        lines.append(line)
        yield line


def end(program: "subprocess.Popen[str]") -> None:
    """Asks a program and its children to end; one that does not is killed and fails the test."""
    if program.poll() is not None:
        return
    os.killpg(program.pid, signal.SIGTERM)
    try:
        assert program.wait(PATIENCE) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
