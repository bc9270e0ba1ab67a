"""What is sent to which door in front of which model server, and what came of it.

Owns the plan: every case, own or from a corpus, once per door and model server. `run` starts the gateways, fires, ends
them and reads the logs. A mark of its own in every attempt's canary says whose bytes turned up somewhere.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.rig.doors import doors_of
from loadtest.rig.node import port_of
from tests.conftest import GatewayNode
from tests.smuggling.cases import CANARY, MODEL, Case
from tests.smuggling.wire import CLIENT_BODY, Shot, cut_somewhere, fire
from tests.smuggling.witnesses import Court, Seen, Witness


@dataclass
class Attempt:
    """One case on one connection."""

    case: Case
    door: str
    witness: str
    mark: bytes
    shot: Shot

    @property
    def accepted(self) -> list[str]:
        """Ids of the requests that a model server answered, as the caller got them."""
        answered = [reply for reply in self.shot.replies if reply.status == 200 and b'"witness"' in reply.body]
        return [reply.header("x-request-id") or "" for reply in answered]

    @property
    def bodies(self) -> tuple[bytes, ...]:
        """What the model server should get, in order."""
        return tuple(self._made(body) for body in self.case.bodies)

    def _made(self, raw: bytes) -> bytes:
        return make(raw, self.witness, self.mark)


def make(raw: bytes, witness: str, mark: bytes) -> bytes:
    """The bytes of one attempt."""
    return raw.replace(MODEL, witness.encode()).replace(CANARY, mark)


class Course:
    """All attempts and, once it is run, all logs."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.seen: dict[str, list[Seen]] = {}
        self.behind: list[Seen] = []
        self.logs: dict[str, str] = {}

    def run(self, cases: Mapping[str, Iterable[Case]], folder: Path) -> None:
        """cases: by door. Takes about 45 s, nearly all of it waiting, for 10,000 connections on two cores."""
        with Court(folder) as court, ExitStack() as gateways:
            nodes = {door: gateways.enter_context(_gateway(folder / door, door, court)) for door in cases}
            for door, node in nodes.items():
                assert doors_of(worker.pid for worker in node.children()) == {door}
                self._plan(door, port_of(node), cases[door], court.witnesses)
            admin_ports = [urlsplit(node.admin_url).port or 0 for node in nodes.values()]
            asyncio.run(fire([each.shot for each in self.attempts], admin_ports))
            gateways.close()  # what it still sends on closing is to be in the logs
            for witness in (*court.witnesses, court.behind):
                witness.close_the_log()
                self.logs[witness.name] = witness.text()
            self.seen = {witness.name: witness.seen() for witness in court.witnesses}
            self.behind = court.behind.seen()

    def of(self, id: str, door: str) -> list[Attempt]:
        """The attempts of one case."""
        return [each for each in self.attempts if each.case.id == id and each.door == door]

    def logged(self, id: str) -> list[tuple[str, Seen]]:
        """Who logged the request with this id."""
        return [(name, seen) for name, all_seen in self.seen.items() for seen in all_seen if seen.id == id]

    def _plan(self, door: str, port: int, cases: Iterable[Case], witnesses: list[Witness]) -> None:
        for case in cases:
            for witness in witnesses:
                mark = b"canary-%07d" % len(self.attempts)
                raw = make(case.raw, witness.name, mark)
                cut = cut_somewhere(raw, case.id) if witness.name == "noded" else 0
                self.attempts.append(Attempt(case, door, witness.name, mark, Shot(port, raw, cut, case.methods)))


def _gateway(folder: Path, door: str, court: Court) -> GatewayNode:
    folder.mkdir()
    urls = {each.name: f"http://127.0.0.1:{each.port}/v1" for each in court.witnesses}
    models = [{"name": name, "endpoints": [{"url": url}]} for name, url in urls.items()]
    settings = {"keys": [], "models": models, "listen": {"door": door}, "timeouts": {"client_body": CLIENT_BODY}}
    return GatewayNode(folder, settings)
