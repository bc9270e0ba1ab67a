"""Runs a case straight at the model server and through the gateway, and says whether a caller could tell them apart.

Every case runs on every door. Owns what is masked before the comparison, each with its reason: ids (random), times and
fingerprints (of the run), null usage and timings (see `shows`), the charset of event streams (see `mask`), multipart
boundaries (random).
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pydantic
import pytest

from loadtest.rig.doors import DOORS, doors_of

TIMES = frozenset({"created", "created_at", "completed_at"})
OF_THE_RUN = TIMES | {"system_fingerprint"}
ID = re.compile(r"(chatcmpl|cmpl|resp|msg|call|toolu|fc|rs|req|rerank|modr)[-_][A-Za-z0-9]+")

Run = Callable[["Side"], Any]
Differs = Mapping[str, tuple[object, object]]


@dataclass
class Side:
    """One way to the models: the clients that take it, and the model server's name for their model."""

    url: str
    key: str
    client: openai.OpenAI
    aio: openai.AsyncOpenAI
    http: httpx.Client
    loop: asyncio.Runner

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs it on the loop that the asynchronous client belongs to."""
        return self.loop.run(coroutine)

    def lenient(self) -> openai.OpenAI:
        """The client without strict validation, for the two answers that its own types do not allow.

        It asks for embeddings in base64 and then rejects the text, and it wants a `finish_reason` in every chunk of a
        completion, where real servers send null until the last.
        """
        return self.client.copy(_extra_kwargs={"_strict_response_validation": False})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever goes through a gateway does so once per door."""
    if "door" in metafunc.fixturenames:
        metafunc.parametrize("door", DOORS, scope="module")


@pytest.fixture(scope="module")
def start_gateway(launch_for_module: Any, door: str) -> Callable[..., Any]:
    """Starts gateways with the door, which is seen: `start_gateway(models)`."""

    def start(models: Sequence[Mapping[str, Any]]) -> Any:
        # A model server that asks to be left alone is at rest no longer than the test that told it to.
        rest = {"rest_max": 0.001}
        node = launch_for_module.gateway({"models": models, "listen": {"door": door}, "health": rest})
        assert doors_of(worker.pid for worker in node.children()) == {door}
        return node

    return start


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., Any], model_server: Any) -> Any:
    """A gateway before `model_server`: `llama` goes through as it is, `alias` is renamed to it."""
    endpoint = {"url": model_server.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
    renamed = endpoint | {"model": "llama"}
    return start_gateway([{"name": "llama", "endpoints": [endpoint]}, {"name": "alias", "endpoints": [renamed]}])


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    """The loop of all asynchronous clients."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def open_side(loop: asyncio.Runner) -> Iterator[Callable[[str, str], Side]]:
    """Opens clients of a base URL with a key; they are closed at the end."""
    opened: list[Side] = []

    def begin(url: str, key: str) -> Side:
        strict: dict[str, Any] = {"max_retries": 0, "timeout": 20, "_strict_response_validation": True}
        client = openai.OpenAI(base_url=url, api_key=key, **strict)
        aio = openai.AsyncOpenAI(base_url=url, api_key=key, **strict)
        http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=20)
        opened.append(Side(url, key, client, aio, http, loop))
        return opened[-1]

    yield begin
    for side in opened:
        side.client.close()
        side.wait(side.aio.close())
        side.http.close()


@pytest.fixture(scope="session")
def direct(model_server: Any, open_side: Callable[[str, str], Side]) -> Side:
    """The mock itself."""
    return open_side(model_server.url, model_server.key)


@pytest.fixture(scope="module")
def through(gateway: Any, open_side: Callable[[str, str], Side]) -> Side:
    """The mock behind the gateway."""
    return open_side(gateway.url, gateway.key)


@pytest.fixture
def both(model_server: Any, direct: Side, through: Side) -> Callable[..., Any]:
    """Compares both ways of a case and returns what it gave; see `compare`."""

    def try_out(run: Run, side: Side) -> Any:
        model_server.reset()
        return plain(outcome(run, side))

    def arrived(count: int) -> list[dict[str, Any]]:
        requests = model_server.wait_records(count)
        assert len(requests) == count
        return sorted((received(request) for request in requests), key=lambda facts: facts["sha256"])

    def compare(
        run: Run, *, differs: Differs | None = None, patched: bool = False, requests: tuple[int, int] = (1, 1)
    ) -> Any:
        """Runs `run(side)` both ways and asserts that the results and what the mock received are equal.

        differs: fields of an error and what they must be (direct, through). patched: the gateway asks for usage, so
        the body differs. requests: how many reach the mock (direct, through).
        """
        expected, sent = try_out(run, direct), arrived(requests[0])
        found = try_out(run, through)
        for name, values in (differs or {}).items():
            assert (expected.pop(name), found.pop(name)) == values, name
        assert found == expected
        passed = arrived(requests[1])
        if requests[0] == requests[1]:
            assert [unpatched(entry, patched) for entry in passed] == [unpatched(entry, patched) for entry in sent]
        return found

    return compare


@pytest.fixture
def same() -> Callable[[Run, Side, Side], Any]:
    """`same(run, one, other)` asserts that a case gives the same on two sides, and returns what it gave."""

    def compare(run: Run, one: Side, other: Side) -> Any:
        expected, found = plain(outcome(run, one)), plain(outcome(run, other))
        assert found == expected
        return found

    return compare


def outcome(run: Run, side: Side) -> Any:
    """What a case returns, or what its caller can read of the error it raises."""
    try:
        return run(side)
    except openai.OpenAIError as error:
        facts = {"error": type(error).__name__, "message": str(error)}
        if not isinstance(error, openai.APIError) or isinstance(error, openai.APIConnectionError):
            return facts
        facts |= {name: getattr(error, name) for name in ("code", "param", "type", "body")}
        return facts | {name: getattr(error, name) for name in ("status_code",) if hasattr(error, name)}


def plain(value: Any, ids: dict[str, str] | None = None) -> Any:
    """A result as plain data with what differs between any two runs masked; one id stays one id."""
    ids = {} if ids is None else ids
    if isinstance(value, pydantic.BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True, warnings=False)
    if isinstance(value, Mapping):
        return {name: mask(name, entry, ids) for name, entry in value.items() if shows(name, entry, value)}
    if isinstance(value, list | tuple):
        return [plain(entry, ids) for entry in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes {hashlib.sha256(value).hexdigest()}"
    if isinstance(value, str) and ID.fullmatch(value):
        return ids.setdefault(value, f"id {len(ids)}")
    return value if isinstance(value, str | int | float | bool | None) else vars_of(value, ids)


def vars_of(value: Any, ids: dict[str, str]) -> Any:
    """An event of a stream helper as its type's name and fields."""
    return {"class": type(value).__name__, **plain(vars(value), ids)}


def mask(name: str, value: Any, ids: dict[str, str]) -> Any:
    if name in OF_THE_RUN:
        return type(value).__name__
    if name == "content-type":
        # The gateway names the charset of its event streams, as the contract wants; UTF-8 is the only one there is.
        return re.sub(r"^text/event-stream; charset=utf-8$", "text/event-stream", value)
    return plain(value, ids)


def shows(name: str, value: Any, owner: Mapping[str, Any]) -> bool:
    """Whether a field takes part.

    Not a null usage in a stream's chunk: the gateway asks for usage when its caller did not, and then the model server
    says null in every other chunk. Not timings, an extension of llama.cpp, which puts them beside the usage: they go
    with the frame that the caller did not ask for.
    """
    return name != "timings" and not (name == "usage" and value is None and "choices" in owner)


def received(record: dict[str, Any]) -> dict[str, Any]:
    """What the model server got of a request, as far as the caller decides it."""
    kept = {name: record[name] for name in ("method", "path", "query", "model", "stream", "sha256", "body_length")}
    headers = dict(record["headers"])
    kind, _, boundary = headers.get("content-type", "").partition("; boundary=")
    if boundary:
        kept["sha256"] = "has the boundary in it"
    return kept | {"content-type": kind, "accept": headers.get("accept")}


def unpatched(entry: dict[str, Any], patched: bool) -> dict[str, Any]:
    """The facts of a request that the gateway leaves alone even when it asks for usage."""
    return {name: value for name, value in entry.items() if not (patched and name in ("sha256", "body_length"))}
