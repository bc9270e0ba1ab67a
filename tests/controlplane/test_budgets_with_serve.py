"""A whole node: a budget's alert reaches its receiver once whatever is killed, and what was spent survives a reboot."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ModelServer
from tests.controlplane.alerts.receiver import Receiver
from tests.controlplane.test_with_serve import PATIENCE, ControlledNode, until

SECRET = "whsec_" + "A" * 44
TOKENS = 1_000
#: Answers of so many tokens use up a budget after a few of them.
BUDGET = {"name": "monthly", "tokens": 6_000, "period": "month"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def start(
    tmp_path: Path, mock_process: Callable[..., ModelServer], receiver: Receiver
) -> Iterator[Callable[[], ControlledNode]]:
    """Starts nodes on one state folder, one after the other. The port is the kernel's: each has an arena of its own."""
    upstream = mock_process("--model", "llama", "--tokens", str(TOKENS))
    hook = {"name": "pager", "url": receiver.url, "secret": SECRET}
    settings: dict[str, Any] = {
        "control": {"port": 0, "webhooks": [hook], "allow_hosts": ["127.0.0.1"]},
        "key": {"budgets": [BUDGET | {"thresholds": [{"percent": 50}, {"percent": 80}, {"percent": 100}]}]},
    }
    with ExitStack() as stack:

        def launch() -> ControlledNode:
            node = ControlledNode(tmp_path / "node", upstream.url, only_api=False, **settings)
            stack.callback(lambda: node.process.poll() is None and node.end())
            return node

        yield launch


def ask(node: ControlledNode, most: int = TOKENS) -> tuple[int, int]:
    """Status and tokens of one completion."""
    body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}], "max_tokens": most}
    headers = {"authorization": f"Bearer {node.key}"}
    answer = httpx.post(f"{node.url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)
    return answer.status_code, answer.json()["usage"]["total_tokens"] if answer.status_code == 200 else 0


def spend_until_refused(node: ControlledNode) -> int:
    """Asks until the budget refuses; the tokens of what was answered."""
    until(lambda: ask(node)[0] != 503, "the budget stayed closed")
    total = 0
    while True:
        status, tokens = ask(node)
        total += tokens
        if status != 200:
            assert status == 429
            return total


def test_alerts_come_once_each_though_all_is_killed_and_what_was_spent_stays_spent(
    start: Callable[[], ControlledNode], receiver: Receiver
) -> None:
    first = start()
    control = first.control()
    assert control is not None
    until(lambda: ask(first)[0] == 200, "the budget stayed closed")
    control.suspend()  # nothing is settled or sent: what workers told must wait on the disk
    spend_until_refused(first)
    for child in first.children():
        child.kill()
    first.process.kill()
    first.end()
    assert receiver.got == []

    second = start()  # another arena, as after a reboot
    until(lambda: ask(second)[0] in (429, 200), "the budget stayed closed")
    assert ask(second)[0] == 429, "a budget that was spent began anew"
    until(lambda: len(receiver.got) >= 3, "the alerts never came")
    spend_until_refused(second)  # tells the thresholds of its arena once more
    second.end()

    third = start()
    until(lambda: ask(third)[0] != 503, "the budget stayed closed")
    assert ask(third)[0] == 429
    told = [(got.id, got.data["percent"]) for got in receiver.got]
    assert sorted(percent for _, percent in told) == [50, 80, 100]
    assert all(got.is_signed_with(SECRET) for got in receiver.got)
    assert {got.data["owner"] for got in receiver.got} == {"tests"}


def test_the_page_of_metrics_shows_the_control_process_and_a_stopped_one_is_said(
    start: Callable[[], ControlledNode],
) -> None:
    node = start()
    until(lambda: "fastpath_control_up 1.0" in node.admin("/metrics"), "it was never asked")
    until(lambda: ask(node)[0] == 200, "the budget stayed closed")
    until(lambda: _value(node, "fastpath_ledger_transactions_total") >= 1, "nothing was settled")
    assert _value(node, "fastpath_outbox_records_total") >= 2
    assert _value(node, "fastpath_publication_version") > 1e12
    control = node.control()
    assert control is not None
    control.suspend()
    node.line("the control process has not answered for")
    said = node.ready()
    assert said["status"] == "degraded"
    assert said["problems"][0].startswith("the control process has not answered for")
    assert "fastpath_control_up 0.0" in node.admin("/metrics")
    assert ask(node)[0] == 200, "traffic goes on"
    control.resume()
    node.line("the control process answers again after")
    until(lambda: node.ready() == {"status": "ready"}, "it stayed degraded")


def _value(node: ControlledNode, name: str) -> float:
    for line in node.admin("/metrics").splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return -1.0
