"""Callers make up models, paths and keys; the page of metrics stays as long as it was, and holds none of them."""

import http.client
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.conftest import PATIENCE, GatewayNode, Launcher

STRANGERS = 500
MARK = "stranger"


class Caller:
    """One connection, kept as long as the gateway keeps it."""

    def __init__(self, gateway: GatewayNode) -> None:
        address = urlsplit(gateway.url)
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
        self._key = gateway.key

    def post(self, path: str, model: str, key: str | None = None) -> int:
        headers = {"authorization": f"Bearer {key or self._key}", "content-type": "application/json"}
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def gateway(launch: Launcher) -> GatewayNode:
    """One model by name, and a wildcard that passes every other on."""
    server = launch.mock("--model", "llama", "--tokens", "1")
    endpoint = {"url": server.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
    return launch.gateway({"models": [{"name": name, "endpoints": [endpoint]} for name in ("llama", "*")]})


@pytest.fixture
def caller(gateway: GatewayNode) -> Iterator[Caller]:
    caller = Caller(gateway)
    yield caller
    caller.close()


def ask(caller: Caller, name: str) -> list[int]:
    chat = "/v1/chat/completions"
    return [caller.post(chat, name), caller.post(f"/v1/{name}", "llama"), caller.post(chat, "llama", f"fp-{name}-key")]


def read_page(gateway: GatewayNode) -> list[str]:
    """The page, once the worker's tick has shown what is in flight for both models."""
    end = time.monotonic() + PATIENCE
    while (page := gateway.admin("/metrics")).count("ai_inference_in_flight{") < 2:
        assert time.monotonic() < end, page
        time.sleep(0.02)
    return page.splitlines()


def test_strangers_do_not_make_the_page_grow(gateway: GatewayNode, caller: Caller) -> None:
    assert ask(caller, f"{MARK}-first") == [404, 404, 401]
    assert caller.post("/v1/chat/completions", "llama") == 200
    before = read_page(gateway)
    for number in range(STRANGERS):
        assert ask(caller, f"{MARK}-{number}") == [404, 404, 401]
    after = read_page(gateway)
    assert [line.partition(" ")[0] for line in after] == [line.partition(" ")[0] for line in before]
    assert not [line for line in after if MARK in line]
    asked = [line for line in after if line.startswith('ai_inference_requests_total{model="*"')]
    assert [float(line.rpartition(" ")[2]) for line in asked] == [STRANGERS + 1]
