"""Runs the blocks of one page the way a reader does: one folder, one terminal, more terminals for what keeps running.

Ports that the documents name are replaced by free ones, so that pages disturb nobody; nothing else is changed.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
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

    def __init__(self, folder: Path, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._patience = patience
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
        output = Output(program)
        problem = output.wait_ready(self._patience)
        assert not problem, f"line {block.line}: {block.text}{problem}:\n{output.text()}"

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


class Output:
    """What a program prints, read as it comes, in a thread of its own."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self._program = program
        self._lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_ready(self, patience: float) -> str:
        """Waits until the program serves; "" or why it does not. Its children may hold its output when it is gone."""
        end = time.monotonic() + patience
        while not self._ready.wait(0.02):
            if self._program.poll() is not None:
                self._reader.join(1.0)  # the last lines
                return "" if self._ready.is_set() else f"it ended with status {self._program.returncode}"
            if time.monotonic() > end:
                return f"it does not serve after {patience:.0f} s"
        return ""

    def text(self) -> str:
        """What it has printed."""
        return "".join(self._lines)

    def _read(self) -> None:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            self._lines.append(line)
            if READY.search(line):
                self._ready.set()


def end(program: "subprocess.Popen[str]") -> None:
    """Asks a program and its children to end; one that does not is killed and fails the test."""
    if program.poll() is not None:
        with suppress(ProcessLookupError):  # nobody is left of it
            os.killpg(program.pid, signal.SIGKILL)
        return
    os.killpg(program.pid, signal.SIGTERM)
    try:
        assert program.wait(PATIENCE) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
