"""A PostgreSQL server of a run's own: in a folder of its own, behind a Unix socket, gone with the object.

Owns its start, its end (at once, or with a kill) and its databases. It runs as the user `postgres` where the caller is
root, because it refuses to be root. Concurrency: one thread at a time.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil

PATIENCE = 60.0
SUPERUSER = "postgres"
#: Whom the program connects as: owns its database, and is nobody otherwise.
ROLE = "fastpath"


def binaries() -> Path:
    """The folder of the newest installed server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    assert initdb, "PostgreSQL is not installed: apt install postgresql"
    return Path(initdb).resolve().parent


class Cluster:
    """A running server. Use as a context manager."""

    def __init__(self) -> None:
        self._bin = binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="fastpath-pg-"))
        self._user = SUPERUSER if os.geteuid() == 0 else None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._log = (self.folder / "log").open("wb")
        self._server: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        data = str(self.folder / "data")
        self._call("initdb", "-D", data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.start()
        self.sql(f"CREATE ROLE {ROLE} LOGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Starts it and waits until it answers, recovery included. fsync is off: a killed process loses no page."""
        options = ["-c", "listen_addresses=", "-k", str(self.folder), "-F", "-c", "shared_buffers=64MB"]
        options += ["-c", "dynamic_shared_memory_type=mmap"]  # killed, it leaves nothing in /dev/shm
        self._server = subprocess.Popen(
            [self._bin / "postgres", "-D", self.folder / "data", *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            user=self._user,
        )
        deadline = time.monotonic() + PATIENCE
        while self._ask("pg_isready", "-h", str(self.folder), "-q") != 0:
            assert self._server.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.01)

    def stop_at_once(self) -> None:
        """Immediate shutdown: no checkpoint, clients are cut off. `start` brings it back."""
        self._call("pg_ctl", "stop", "-D", str(self.folder / "data"), "-m", "immediate")
        assert self._server is not None
        self._server.wait(PATIENCE)
        self._server = None

    def kill(self) -> None:
        """kill -9 of the postmaster and of every backend: nothing is flushed, nobody is told."""
        server = self._server
        if server is None:
            return
        self._server = None
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        server.wait()
        psutil.wait_procs(family[1:], timeout=PATIENCE)

    def sql(self, text: str, database: str = "postgres") -> str:
        """What a statement of the superuser prints."""
        return self._call("psql", "-h", str(self.folder), "-U", SUPERUSER, "-d", database, "-XAtqc", text)

    def create_database(self, template: str = "template1") -> str:
        """A new database's name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template} STRATEGY wal_log")
        return name

    def url(self, database: str) -> str:
        """Where the program finds it."""
        return f"postgresql://{ROLE}@/{database}?host={self.folder}"

    def _ask(self, name: str, *arguments: str) -> int:
        return subprocess.run([self._bin / name, *arguments], cwd="/", check=False, capture_output=True).returncode

    def _call(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._bin / name, *arguments],
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            user=self._user,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
