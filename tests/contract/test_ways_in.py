"""The same conversations through every way in: Unix socket, TLS and sockets of each worker's own, on the doors that
have them; and what a real node does when its descriptors run out.

Nodes are real processes: what listens, and who removes it, is between supervisor and worker.
"""

import asyncio
import resource
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
import yaml

from loadtest.rig import Conversation, chat
from tests.contract.test_conversations import LIMIT, ROWS, check, check_kept, raw

PATIENCE = 60.0


@dataclass
class Node:
    """A node under one way in. `open` makes a conversation with it."""

    program: Any
    log: Path
    address: str
    trusting: ssl.SSLContext | None

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def worker(self) -> psutil.Process:
        return self.program.children()[0]

    async def open(self) -> Conversation:
        loop = asyncio.get_running_loop()
        if self.address.startswith("unix:"):
            _, made = await loop.create_unix_connection(Conversation, self.address.removeprefix("unix:"))
        elif self.trusting is not None:
            _, made = await loop.create_connection(
                Conversation, "127.0.0.1", self.port, ssl=self.trusting, server_hostname="localhost"
            )
        else:
            made = await Conversation.open(self.port)
        return made

    async def ask(self, request: bytes) -> Any:
        client = await self.open()
        try:
            return await client.ask(request)
        finally:
            client.leave()


StartNode = Callable[..., Node]


@pytest.fixture
def start(launch: Any, model_server: Any, tmp_path: Path) -> StartNode:
    """`start({listen settings}, workers=1)`: a node before the mock model server, once it serves."""
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def run(listen: dict[str, Any], workers: int = 1) -> Node:
        if "tls" in listen:
            issued = authority.issue_cert("localhost")
            issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
            issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        endpoint = {"url": model_server.url, "api_key": model_server.key, "tier": "L1"}
        log = tmp_path / "access.log"
        settings = {
            "listen": {"admin_port": 0, "drain": 5, **({} if "unix" in listen else {"port": 0}), **listen},
            "models": [{"name": "llama", "endpoints": [endpoint]}],
            "limits": {"json_body": LIMIT},
            "log": {"access": str(log)},
            "workers": workers,
        }
        path = tmp_path / "fastpath.yaml"
        path.write_text(yaml.safe_dump(settings))
        program = launch.program("-P", "-m", "fastpath.cli", "serve", "--config", str(path))
        line = program.line("serving on")
        assert line.endswith(f"door {listen['door']}")
        address = line.partition("serving on ")[2].partition(" (admin")[0]
        return Node(program, log, address, trusting if "tls" in listen else None)

    return run


def ways(folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """Name -> listen settings, and the caller's address in the access log."""
    tls = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    unix = str(folder / "door")
    return {
        "granian-unix": ({"door": "granian", "unix": unix}, ""),
        "native-unix": ({"door": "native", "unix": unix}, ""),
        "granian-tls": ({"door": "granian", "tls": tls}, "127.0.0.1"),
        "native-tls": ({"door": "native", "tls": tls}, "127.0.0.1"),
        "native-own-sockets": ({"door": "native", "reuse_port": True}, "127.0.0.1"),
    }


@pytest.mark.parametrize("way", ways(Path("/")))
async def test_every_way_in_carries_the_same(start: StartNode, tmp_path: Path, way: str) -> None:
    listen, client_address = ways(tmp_path)[way]
    node = start(listen)
    client = await node.open()
    whole = await client.ask(chat())
    assert (whole.status, whole.json["object"]) == (200, "chat.completion")
    streamed = await client.ask(chat(stream=True))
    assert streamed.status == 200
    assert streamed.done == 1
    assert streamed.whole
    for request, status in ((raw("GET", "/v1/models"), 200), (raw("GET", "/v2/none"), 404), (raw("GET", "/x"), 404)):
        assert (await client.ask(request)).status == status
    forwarded = raw("GET", "/healthz", "x-forwarded-for: 203.0.113.9")
    assert (await client.ask(forwarded)).status == 200
    client.leave()
    large = raw("POST", "/v1/chat/completions", "content-type: application/json", "content-length: 99999999")
    assert (await node.ask(large)).status == 413
    assert (await node.ask(b"no http at all\r\n\r\n")).status == 400
    node.program.process.terminate()
    assert node.program.process.wait(PATIENCE) == 0
    addresses = {line["client"] for line in map(yaml.safe_load, node.log.read_text().splitlines())}
    assert addresses == {client_address}
    assert "unix" not in listen or not Path(listen["unix"]).exists()


@pytest.mark.parametrize("way", ["native-unix", "native-tls", "native-own-sockets"])
async def test_every_row_of_the_contract(start: StartNode, tmp_path: Path, way: str) -> None:
    node = start(ways(tmp_path)[way][0])
    for row in ROWS:
        client = await node.open()
        check(await client.ask(row.request), row, hyper=False)
        await check_kept(client, row.kept)
        client.leave()


@pytest.mark.parametrize("door", ["granian", "native"])
async def test_a_stalled_reader_over_tls_holds_back_the_model_server(
    start: StartNode, tmp_path: Path, door: str
) -> None:
    listen, _ = ways(tmp_path)[f"{door}-tls"]
    node = start(listen)
    client = await node.open()
    client.stall()
    client.send(chat({"firehose": 10_000_000}, stream=True, max_tokens=10_000_000))
    before = await still(node.worker)
    client.leave("rst")
    assert before < 200 << 20
    assert (await node.ask(raw("GET", "/healthz"))).status == 200


async def still(worker: psutil.Process) -> int:
    """The worker's RSS once it used no CPU for half a second."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        before = sum(worker.cpu_times()[:2])
        await asyncio.sleep(0.5)
        if sum(worker.cpu_times()[:2]) - before <= 0.05:
            return worker.memory_info().rss
    raise AssertionError("it is never still")


async def test_a_file_left_behind_is_replaced_and_a_live_one_refused(start: StartNode, tmp_path: Path) -> None:
    listen, _ = ways(tmp_path)["native-unix"]
    first = start(listen)
    second = subprocess.run(
        first.program.process.args, capture_output=True, text=True, timeout=PATIENCE, env=environ_of(first), check=False
    )
    assert second.returncode == 1
    assert "another process serves there" in second.stderr
    assert (await first.ask(raw("GET", "/healthz"))).status == 200
    workers = first.program.children()
    first.program.process.kill()
    first.program.process.wait()
    psutil.wait_procs(workers, PATIENCE)
    assert Path(listen["unix"]).is_socket()
    again = start(listen)
    assert (await again.ask(raw("GET", "/healthz"))).status == 200


def environ_of(node: Node) -> dict[str, str]:
    return psutil.Process(node.program.process.pid).environ()


async def test_a_worker_with_its_own_socket_can_be_replaced(start: StartNode) -> None:
    """SIGTERM to one of two workers under a run of new connections: the others' go on, a new one joins them."""
    node = start({"door": "native", "reuse_port": True}, workers=2)
    old = {worker.pid for worker in node.program.children()}
    failed = 0
    psutil.Process(min(old)).terminate()
    for _ in range(200):
        try:
            failed += (await node.ask(raw("GET", "/healthz"))).status != 200
        except ConnectionError:
            failed += 1
    assert failed <= 2, "one or two may meet the very moment of the closing"
    node.program.line("will be replaced")
    await until(lambda: len({worker.pid for worker in node.program.children()} - old) == 1)
    await until(lambda: len(listening(node.port)) == 2)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


def listening(port: int) -> list[str]:
    """Lines of `ss` about sockets that listen there: State, Recv-Q, Send-Q (the backlog), ..."""
    if shutil.which("ss") is None:
        pytest.skip("needs ss")
    done = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_the_backlog_is_4096(start: StartNode, own: bool) -> None:
    node = start({"door": "native", "reuse_port": own}, workers=2)
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    backlogs = [int(line.split()[2]) for line in listening(node.port)]
    assert backlogs == [min(4096, allowed)] * (2 if own else 1)


async def test_without_descriptors_new_callers_wait_and_old_ones_are_served(start: StartNode) -> None:
    node = start({"door": "native"})
    old = await node.open()
    assert (await old.ask(raw("GET", "/healthz"))).status == 200
    worker = node.worker
    _, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    used = max(int(name.name) for name in Path(f"/proc/{worker.pid}/fd").iterdir())
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (used + 4, hard))
    waiting = [await node.open() for _ in range(20)]
    for client in waiting:
        client.send(raw("GET", "/healthz"))
    node.program.line("callers wait, accepting pauses: Too many open files")
    before = sum(worker.cpu_times()[:2])
    await asyncio.sleep(1.0)  # a window to measure in
    assert sum(worker.cpu_times()[:2]) - before < 0.3, "it spins"
    for _ in range(3):
        assert (await old.ask(raw("GET", "/healthz"))).status == 200
    answered = sum(client.reader.done != [] for client in waiting)
    assert answered < 20
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (hard, hard))
    for client in waiting:
        assert (await client.reply()).status == 200
        client.leave()
    old.leave()
