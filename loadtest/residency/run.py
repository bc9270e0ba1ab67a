"""One leak run: a gateway in its own process, traps and name servers around it, all requests, and the verdict.

Owns the order of events and what counts as a leak: a connection to a trap, a canary in what came there, in what an
identity provider was asked for its keys or in what the gateway printed, a question about a cloud's name, an answer that
is not the refusal. One event loop; the gateway's is another.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import msgspec

from loadtest.programs import ROOT
from loadtest.residency.canary import find
from loadtest.residency.issuer import make_key_set, make_token
from loadtest.residency.order import Ask
from loadtest.residency.stage import AWAY, HOME, INSIDE, Ports, settings_of
from loadtest.residency.traps import Names, Trap
from loadtest.rig.conversation import Conversation, post
from loadtest.rig.reply import Reply

TOGETHER = 16
STRANGERS = 20
"""Every so many requests one comes with a token, for which the identity provider is asked."""
TRAPS = 3
RELOADS = 12
"""Of the settings, spread over a run."""


class Outcome(msgspec.Struct):
    """What a run showed. leaks: a sentence each; violations: what the gate counted."""

    asked: int = 0
    connections: int = 0
    reloads: int = 0
    violations: int = 0
    forms: dict[str, int] = {}
    leaks: list[str] = []
    wrong: list[str] = []


class House:
    """The gateway's process and all that stands around it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = Random(seed)
        self.traps = [Trap() for _ in range(TRAPS)]
        self.rebound = Trap()
        self.issuer = Trap(make_key_set())
        self.printed: list[str] = []

    async def open(self, stack: ExitStack, walls: str) -> None:
        """Raises OSError, RuntimeError."""
        self.names = await Names.start(self._addresses)
        stack.callback(self.names.close)
        ports = [await trap.start(AWAY) for trap in self.traps]
        rebound = await self.rebound.start(AWAY)
        issuer = await self.issuer.start(INSIDE)
        for trap in (*self.traps, self.rebound, self.issuer):
            stack.callback(trap.close)
        with socket.create_server((HOME, 0)) as probe:
            dead = probe.getsockname()[1]
        self.ports = Ports(tuple(ports), rebound, dead, self.names.port, issuer)
        self.file = self.folder / "fastpath.yaml"
        self.write(0)
        arguments = ("-m", "loadtest.residency.gateway", str(self.file), walls)
        pipe = asyncio.subprocess.PIPE
        self.gateway = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        self.port = int((await self.line("serving")).removesuffix("/v1").rpartition(":")[2])

    def write(self, variant: int) -> None:
        """Settings of a variant, for the next reload. JSON is YAML."""
        self.file.write_text(json.dumps(settings_of(self.folder, self.ports, variant)))

    async def line(self, word: str) -> str:
        """The next line that begins so. Raises RuntimeError when there is none."""
        assert self.gateway.stdout is not None
        while line := (await self.gateway.stdout.readline()).decode().rstrip():
            if line.startswith(word):
                return line
            self.printed.append(line)
        raise RuntimeError(f"the gateway ended without {word!r}: {self.printed[-5:]}")

    async def reload(self, variant: int) -> None:
        """Another variant, in force when this returns."""
        self.write(variant)
        assert self.gateway.stdin is not None
        self.gateway.stdin.write(b"\n")
        await self.line("reloaded")

    async def close(self) -> int:
        """Ends the gateway; returns the breaches that its gate counted."""
        assert self.gateway.stdin is not None
        self.gateway.stdin.close()
        count = int((await self.line("violations")).split()[1])
        await self.gateway.wait()
        return count

    def _addresses(self, host: str) -> list[str]:
        if host == "rebind.test":
            return self.random.choice([[AWAY], [HOME], [HOME, AWAY], ["169.254.169.254"]])
        return {"home.test": [HOME], "cloud.test": [AWAY]}.get(host, [])


async def run(asks: list[Ask], folder: Path, walls: str, seed: int) -> Outcome:
    """Sends them all. Raises OSError or RuntimeError when it cannot be run."""
    outcome, house = Outcome(), House(folder, seed)
    with ExitStack() as stack:
        await house.open(stack, walls)
        left = iter(asks)
        callers = [_call(house, left, outcome) for _ in range(TOGETHER)]
        async with asyncio.TaskGroup() as group:
            reloads = group.create_task(_reload(house, len(asks), outcome))
            await asyncio.gather(*callers)
            reloads.cancel()
        outcome.violations = await house.close()
        judge_run(house, asks, outcome)
    return outcome


async def _call(house: House, asks: Iterator[Ask], outcome: Outcome) -> None:
    """Sends what is left, one after the other."""
    client = await Conversation.open(house.port)
    for ask in asks:
        if ask.number % STRANGERS == 0:
            await _come_as_stranger(house, ask, outcome)
        request = post(ask.body, ask.path, headers=ask.headers, key=ask.key)
        try:
            reply = await client.ask(request)
        except ConnectionError:  # it may close behind its last answer
            client = await Conversation.open(house.port)
            reply = await client.ask(request)
        outcome.asked += 1
        wrong = _misfit(ask, reply)
        if wrong:
            outcome.wrong.append(f"request {ask.number} ({ask.reason}, {ask.path}): {wrong}")
    client.leave()


async def _come_as_stranger(house: House, ask: Ask, outcome: Outcome) -> None:
    """The same request with a token that nobody signed: refused, or to come again while the provider is asked."""
    client = await Conversation.open(house.port)
    reply = await client.ask(post(ask.body, ask.path, key=make_token(house.ports.issuer_url, ask.canary)))
    client.leave()
    if reply.status not in (401, 503):
        outcome.wrong.append(f"a token that nobody signed: status {reply.status}, {reply.body[:80]!r}")


async def _reload(house: House, total: int, outcome: Outcome) -> None:
    """Loads other settings each time a part of the requests was answered."""
    for variant in range(1, RELOADS + 1):
        while outcome.asked < total * variant / (RELOADS + 1):
            await asyncio.sleep(0.002)
        await house.reload(variant)
        outcome.reloads += 1


def _misfit(ask: Ask, reply: Reply) -> str | None:
    """What is wrong with an answer; None when it is the refusal that it must be."""
    try:
        error = reply.json["error"]
        code = "residency_unavailable" if ask.path == "/v1/messages" else error["code"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {reply.status}, {reply.body[:80]!r}"
    if (reply.status, code) != (503, "residency_unavailable") or reply.header("retry-after") is None:
        return f"status {reply.status}, {code}"
    if "This request is of data class" not in message or ("residency" not in message and "P0" not in message):
        return f"no reason in {message!r}"
    if any(word in message for word in ("127.0.0.", ".test", "http", "cloud-", ask.canary)):
        return f"too much in {message!r}"
    return None


def judge_run(house: House, asks: list[Ask], outcome: Outcome) -> None:
    """Notes in the outcome what came where nothing of these requests may come."""
    traps = [*house.traps, house.rebound]
    outcome.connections = sum(trap.connections for trap in traps)
    if outcome.connections:
        outcome.leaks.append(f"{outcome.connections} connections to places outside")
    came, printed = b"".join(bytes(trap.received) for trap in traps), "\n".join(house.printed).encode()
    # Each canary is looked for in what came only when anything did: 5,000 searches of megabytes are minutes.
    asked = bytes(house.issuer.received)
    if house.issuer.connections < 2:
        outcome.wrong.append("the identity provider was asked for its keys at the start alone, and not for any token")
    for place, data in (("a cloud", came), ("an identity provider", asked), ("the gateway's output", printed)):
        for ask in asks if data else ():
            for form in find_one(data, ask):
                outcome.forms[form] = outcome.forms.get(form, 0) + 1
                if len(outcome.leaks) < 20:
                    outcome.leaks.append(f"the canary of request {ask.number} ({ask.reason}) reached {place}: {form}")
    for name in sorted({name for name in house.names.asked if name != "home.test" and name != "rebind.test"}):
        outcome.leaks.append(f"the name {name[:80]} was looked up")


def find_one(data: bytes, ask: Ask) -> set[str]:
    """The forms in which a request's canary is in it: those that it was written in come first, all others after."""
    return find(data, ask.canary) if len(data) < 1 << 16 else find(_around(data, ask), ask.canary)


def _around(data: bytes, ask: Ask) -> bytes:
    """The part of large data where this request may be: around its own text as it was sent."""
    place = data.find(ask.body[:4096]) if ask.body else -1
    if place < 0:
        place = data.find(ask.canary.encode())
    return data[max(0, place - 4096) : place + len(ask.body) + 4096] if place >= 0 else b""
