"""A whole run: load under kills, rest, the providers' statements, and the checker over everything that was written.

Owns the order of these and what is kept of them in the folder. Concurrency: one event loop.
"""

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec

from backends.mock.statement import Charged, read_log, render, state
from controlplane.store.database import Database
from loadtest.chaos.kinds import KINDS
from loadtest.checker import INVARIANTS, Violation
from loadtest.checker.accounts import Accounts, Difference, Stated
from loadtest.checker.allowance import Allowance
from loadtest.checker.history import AccessLine, ClientLine, History, MockLine, read_lines
from loadtest.ledger.extract import extract, read_differences
from loadtest.ledger.order import CURRENCY, FREE, HELD, INPUT_PRICE, OUTPUT_PRICE, SCRIPT, Order
from loadtest.ledger.rest import look, wait_rest
from loadtest.ledger.stage import Script, Stage
from loadtest.ledger.traffic import Killed, Traffic
from loadtest.programs import ROOT
from scheduler.clock import Clock

FIRST, SECOND = "first", "second"
PACE = ("--ttft", "0.005", "--rate", "400", "--tokens", "24", "--keep", "1")
PRICES = ("--input-price", str(INPUT_PRICE), "--output-price", str(OUTPUT_PRICE))
PER_MILLION = 1_000
"""Nano-units per token make so many thousandths of a currency unit per million tokens."""
STATUSES = frozenset({500, 502, 503, 504})
"""What a request may get that asked the mock to fail it."""
RECONCILE_S = 120.0
JUDGED = frozenset({"J1", "J2", "J3", "J9", "J10"})
"""Invariants. The gateway asks for usage on its callers' behalf here, so what they read is not what was sent (J7)."""


class Outcome(msgspec.Struct, kw_only=True):
    """What happened and what was wrong with it: violations by the name of their invariant, `rest` for what was left."""

    clients: list[ClientLine]
    killed: list[Killed]
    accounts: Accounts
    seconds: float
    violations: list[tuple[str, Violation]]


async def run(order: Order, folder: Path, clock: Clock, database: str | None = None) -> Outcome:
    """Runs in `folder`, where all logs stay; `database`: where PostgreSQL is, for an order that wants it.

    Raises RuntimeError, OSError when the stage itself fails.
    """
    async with Stage(folder, script_of(order, database)) as stage:
        await _script_faults(stage)
        traffic, began = Traffic(stage, order, clock), clock.monotonic()
        await traffic.run()
        seconds = clock.monotonic() - began
        books = await Database.open(stage.database)
        try:
            left = await wait_rest(stage, books)
            held = look(stage)
            for mock in stage.mocks.values():
                await mock.stop()  # so that its log is whole
            stated, differences = await _reconcile(stage)
            accounts = await extract(books, stage.state)
        finally:
            await books.close()
    accounts.stated, accounts.differences, accounts.bounds = stated, differences, [order.bound]
    accounts.held = msgspec.structs.replace(held, open=accounts.held.open, open_reserved=accounts.held.open_reserved)
    (folder / "accounts.json").write_bytes(msgspec.json.encode(accounts))
    history = history_of(stage, traffic, accounts)
    return Outcome(
        clients=traffic.lines,
        killed=traffic.killed,
        accounts=accounts,
        seconds=seconds,
        violations=[("rest", Violation("node", left))] * bool(left) + check(history),
    )


def check(history: History) -> list[tuple[str, Violation]]:
    """The violations of the invariants that a ledger is about."""
    return [(one.name, violation) for one in INVARIANTS if one.name in JUDGED for violation in one.check(history)]


def script_of(order: Order, database: str | None) -> Script:
    """Two tenants, two endpoints at one price."""
    budget = {"name": "beyond-reach", "amount": 1_000_000_000, "period": "month"}
    limits = [
        {"count": "requests", "most": int(order.bound.per_second), "per": "second", "burst": order.bound.burst},
        {"count": "concurrency", "most": order.places},
    ]
    return Script(
        tenants=(
            {"name": FREE, "currency": CURRENCY, "budgets": [budget]},
            {"name": HELD, "currency": CURRENCY, "budgets": [budget], "limits": limits},
        ),
        price={
            "currency": CURRENCY,
            "input": INPUT_PRICE / PER_MILLION,
            "output": OUTPUT_PRICE / PER_MILLION,
        },
        mocks={FIRST: (*PACE, *PRICES), SECOND: (*PACE, *PRICES)},
        database=database,
        workers=order.workers,
    )


def history_of(stage: Stage, traffic: Traffic, accounts: Accounts) -> History:
    """Every log of the run. A kill permits what `loadtest.chaos` permits it."""
    permits = tuple(permit for one in traffic.killed for permit in KINDS["worker-kill"].permits(one.at, one.at, ""))
    return History(
        clients=traffic.lines,
        access=read_lines(stage.access, AccessLine),
        mock=[line for log in stage.logs.values() for line in read_lines(log, MockLine)],
        accounts=accounts,
        allowance=Allowance(statuses=STATUSES, permits=permits, patched_bodies=True, resends=True),
    )


async def _script_faults(stage: Stage) -> None:
    async with httpx.AsyncClient() as client:
        url = stage.mocks[FIRST].url.removesuffix("/v1") + "/mock/script"
        (await client.post(url, json={"faults": list(SCRIPT)})).raise_for_status()


async def _reconcile(stage: Stage) -> tuple[list[Stated], list[Difference]]:
    """Writes each provider's statement and has the command compare it, twice."""
    records: list[tuple[str, list[Charged]]] = [(name, read_log(log)) for name, log in stage.logs.items()]
    lines = state(records)
    differences: list[Difference] = []
    for name in stage.logs:
        path = stage.folder / f"statement-{name}.csv"
        path.write_text(render((line for line in lines if line.server == name), CURRENCY))
        for again in (False, True):
            differences += read_differences(await _compare(stage, path, name), name, again=again)
    return [Stated(line.server, line.request, line.attempt, line.amount) for line in lines], differences


async def _compare(stage: Stage, statement: Path, provider: str) -> str:
    """What `fastpath reconcile` prints. Raises RuntimeError with what it complains of."""
    month = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m")
    command = ("reconcile", "--statement", str(statement), "--provider", provider, "--complete", month)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    if stage.script.database is not None:
        environ["FASTPATH_DATABASE"] = stage.script.database
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "fastpath.cli", *command, "--state-dir", str(stage.state)),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(RECONCILE_S):
        out, err = await child.communicate()
    if child.returncode != 0:
        raise RuntimeError(f"fastpath reconcile: {err.decode()}")
    return out.decode()
