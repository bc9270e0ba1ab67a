"""F24, F26: the database stops, or stands locked, under traffic: no request fails, and all usage is booked afterwards.

And before that: no worker ever asks a database anything, whatever key it is shown.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadtest.postgres import SUPERUSER, Cluster, binaries
from tests.controlplane.conftest import Caller
from tests.controlplane.faults.conftest import FULL, PATIENCE, Asker, Crowd, PricedNode, frozen, make_key, until

DOWN = 60.0 if FULL else 5.0
"""Seconds."""
KEYS, REQUESTS = (1_000, 10_000) if FULL else (40, 400)
DRAINED = 60.0
Start = Callable[..., PricedNode]


def fresh(cluster: Cluster) -> str:
    """Where a new database is."""
    return cluster.url(cluster.create_database())


@pytest.mark.timeout(240 + 2 * DOWN)
def test_F24_postgresql_stopped_under_traffic_fails_no_request(priced: Start, own_cluster: Cluster) -> None:
    node = priced(fresh(own_cluster), workers=2)
    api = node.admin_api()
    token, _ = make_key(api)
    node.ready_once(token)
    before = until_settled(node, api, 4)
    with Crowd(node, token) as crowd:
        crowd.wait(30)
        own_cluster.stop_at_once()
        stopped, at = time.monotonic(), len(crowd.answers)
        assert api.call("POST", "/tenants", {"name": "late"}).status_code == 503
        assert node.ask(f"fp-00000000-{secrets.token_hex(32)}") == 401
        time.sleep(max(0.0, DOWN - (time.monotonic() - stopped)))  # how long it is away is what this is about
        served = len(crowd.answers) - at
        own_cluster.start()
        crowd.wait(30)
    assert set(crowd.answers) == {200}
    assert served > DOWN
    returned = time.monotonic()
    until(lambda: node.booked(api) == before + len(crowd.answers), "usage is missing", DRAINED)
    assert time.monotonic() - returned < DRAINED
    api.make("/tenants", {"name": "late"})
    assert node.ready() == {"status": "ready"}


def until_settled(node: PricedNode, api: Caller, least: int) -> int:
    """Requests in the ledger once nothing more comes."""
    until(lambda: node.booked(api) >= least, "what was asked is not booked", PATIENCE)
    figures = api.get("/settlement")
    until(lambda: api.get("/settlement")["backlog_bytes"] == 0, f"it is not settled: {figures}", PATIENCE)
    return node.booked(api)


@pytest.mark.timeout(300)
def test_F26_a_locked_table_delays_the_books_and_nobody_else(priced: Start, own_cluster: Cluster) -> None:
    database = own_cluster.create_database()
    node = priced(own_cluster.url(database), workers=2)
    api = node.admin_api()
    token, _ = make_key(api)
    node.ready_once(token)
    before = until_settled(node, api, 4)
    with Crowd(node, token) as crowd, Lock(own_cluster, database, "ledger_requests", "tenants") as lock:
        crowd.wait(50)
        began = time.monotonic()
        assert api.call("POST", "/tenants", {"name": "late"}).status_code == 503
        assert time.monotonic() - began < 20
        assert api.call("GET", "/settlement").status_code in (200, 503)
        crowd.wait(50)
        lock.release()
        crowd.wait(10)
    assert set(crowd.answers) == {200}
    until(lambda: node.booked(api) == before + len(crowd.answers), "usage is missing", DRAINED)
    api.make("/tenants", {"name": "late"})


class Lock:
    """Tables that nobody else may touch, while the block runs or until `release`."""

    def __init__(self, cluster: Cluster, database: str, *tables: str) -> None:
        command = [binaries() / "psql", "-h", str(cluster.folder), "-U", SUPERUSER, "-d", database, "-XAtq"]
        self._session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tables = ", ".join(tables)

    def __enter__(self) -> "Lock":
        self._say(f"BEGIN; LOCK TABLE {self._tables} IN ACCESS EXCLUSIVE MODE; SELECT 'held';")
        assert self._session.stdout is not None
        assert self._session.stdout.readline() == "held\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Ends the transaction and the session. Again: nothing."""
        if self._session.returncode is None:
            self._session.communicate("ROLLBACK;\n", timeout=PATIENCE)

    def _say(self, text: str) -> None:
        assert self._session.stdin is not None
        self._session.stdin.write(text + "\n")
        self._session.stdin.flush()


# -- workers ask no database anything


class Statements:
    """Counts what a PostgreSQL server is asked, by its own log."""

    def __init__(self, cluster: Cluster) -> None:
        cluster.sql("ALTER SYSTEM SET log_statement = 'all'")
        cluster.sql("SELECT pg_reload_conf()")
        self._log = cluster.folder / "log"
        self._at = 0
        until(lambda: self._probe(cluster), "the server does not log statements")
        self.begin()

    def begin(self) -> None:
        """Counts from here."""
        self._at = self._log.stat().st_size

    def settle(self, cluster: Cluster) -> None:
        """Until what was sent has been taken: nothing but what is asked from here on is counted after `begin`."""
        busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"

        def rests() -> bool:
            self.begin()
            return cluster.sql(busy) == "0" and self.count() == 1  # the question itself

        until(rests, "the server is asked without end", PATIENCE)

    def count(self) -> int:
        """Statements and new connections since `begin`."""
        text = self._log.read_bytes()[self._at :]
        return text.count(b"LOG:  statement:") + text.count(b"LOG:  execute ")

    def _probe(self, cluster: Cluster) -> int:
        self.begin()
        cluster.sql("SELECT 1")
        return self.count()


def held_databases(process: psutil.Process) -> list[str]:
    """Files of a database that a process holds open."""
    found = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue  # closed since the folder was listed
        if ".db" in target:
            found.append(target)
    return found


def show_keys(node: PricedNode, known: list[str]) -> list[int]:
    """Asks in turn with a key that is not known, a new one each time, and with one that is; the statuses."""
    answers: list[int] = []
    with Asker(node) as asker:
        for number in range(REQUESTS):
            stranger = f"fp-{secrets.token_hex(4)}-{secrets.token_hex(32)}"
            answers.append(asker.ask(known[number // 2 % len(known)] if number % 2 else stranger))
    return answers


def many_keys(api: Caller) -> list[str]:
    token, key = make_key(api)
    user = api.get(f"/keys/{key['id']}")["user_id"]
    return [
        token, *(api.make("/keys", {"name": f"k{n}", "user_id": user})["token"] for n in range(KEYS - 1))
    ]  # fmt: skip


@pytest.mark.timeout(900 if FULL else 300)
def test_workers_ask_postgresql_nothing_whatever_key_they_are_shown(priced: Start, own_cluster: Cluster) -> None:
    node = priced(fresh(own_cluster), workers=2)
    api = node.admin_api()
    known = many_keys(api)
    node.ready_once(known[-1])
    control = node.control()
    assert control is not None
    statements = Statements(own_cluster)
    # Who asks now is a worker. The supervisor stands still too: it would end a control process that answers nothing.
    with frozen(psutil.Process(node.process.pid)), frozen(control):
        statements.settle(own_cluster)
        statements.begin()
        answers = show_keys(node, known)
        assert statements.count() == 0
        own_cluster.sql("SELECT 2")
        assert statements.count() == 1, "the count sees what is asked"
    assert (answers.count(200), answers.count(401)) == (REQUESTS // 2, REQUESTS // 2)


@pytest.mark.timeout(300)
def test_workers_hold_no_file_of_the_database(priced: Start) -> None:
    node = priced(workers=2)
    api = node.admin_api()
    token, _ = make_key(api)
    node.ready_once(token)
    workers = node.workers()
    assert len(workers) == 2
    assert [held_databases(worker) for worker in workers] == [[], []]
    control = node.control()
    assert control is not None
    assert any(name.endswith("control.db") for name in held_databases(control)), "the look sees who does"
