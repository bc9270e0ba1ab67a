"""What callers can do to a whole node: repeat an id, ask for what is another tenant's. And where their words stay."""

import base64
import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fastpath.arena import arena_folder
from loadtest.ports import free_port
from tests.conftest import UPSTREAM_KEY, ModelServer
from tests.controlplane.conftest import Caller
from tests.controlplane.faults.conftest import PATIENCE, PRICE, PricedNode, make_key, until

Start = Callable[..., PricedNode]
pytestmark = pytest.mark.timeout(300)


def complete(node: PricedNode, key: str, text: str = "hi", **more: Any) -> httpx.Response:
    body = {"model": "llama", "messages": [{"role": "user", "content": text}], **more.pop("body", {})}
    headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
    return httpx.post(f"{node.url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)


def nano(text: str) -> int:
    """An amount of the admin API as nano-units."""
    whole, _, part = text.partition(".")
    return int(whole) * 10**9 + int(part.ljust(9, "0"))


def test_a_repeated_request_id_is_charged_each_time(priced: Start) -> None:
    """A caller's own id is a label: whoever took it for the request's identity would serve the second one free."""
    node = priced()
    api = node.admin_api()
    token, _ = make_key(api)
    node.ready_once(token)
    until(lambda: node.booked(api) >= 4, "what was asked is not booked")
    before = node.booked(api), charge_of(api)
    label = {"x-request-id": "the-very-same"}
    answers = [complete(node, token, headers=label, body={"max_tokens": 5}) for _ in range(5)]
    costs = [nano(answer.headers["x-fastpath-cost"]) for answer in answers]
    assert min(costs) > 0
    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    until(lambda: node.booked(api) == before[0] + 5, "not each of them is in the books")
    assert charge_of(api) - before[1] == sum(costs)
    assert [line["label"] for line in node.access_lines(9)].count("the-very-same") == 5


def charge_of(api: Caller) -> int:
    return sum(nano(line["charge"]) for line in api.get("/usage")["data"])


# -- the gateway's own answers about another tenant


@pytest.fixture
def two_tenants(priced: Start, model_server: ModelServer) -> tuple[PricedNode, Caller, str, str]:
    """A node whose key may see one model of two; the other is the other tenant's."""
    endpoint = {"url": model_server.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1", "model": "llama"}
    models = [{"name": name, "endpoints": [endpoint], "price": PRICE} for name in ("llama", "theirs")]
    node = priced(models=models)
    api = node.admin_api()
    mine, _ = make_key(api, "umbrella", models=["llama"])
    theirs, _ = make_key(api, "acme", models=["theirs"])
    node.ready_once(mine)
    return node, api, mine, theirs


def test_a_model_of_another_tenant_is_not_there(two_tenants: tuple[PricedNode, Caller, str, str]) -> None:
    node, _, mine, theirs = two_tenants
    client = httpx.Client(headers={"authorization": f"Bearer {mine}"}, timeout=PATIENCE)
    gone = complete(node, mine, body={"model": "no-such-model"})
    probes = [
        complete(node, mine, body={"model": "theirs"}),
        complete(node, mine, body={"model": "theirs", "stream": True}),
        client.post(f"{node.url}/embeddings", json={"model": "theirs", "input": "x"}),
        client.post(f"{node.url}/responses", json={"model": "theirs", "input": "x"}),
        client.get(f"{node.url}/models/theirs"),
    ]
    assert [answer.status_code for answer in probes] == [404] * 5
    assert probes[0].json()["error"]["code"] == gone.json()["error"]["code"] == "model_not_found"
    assert probes[0].text.replace("theirs", "") == gone.text.replace("no-such-model", ""), "as if it were not there"
    assert [one["id"] for one in client.get(f"{node.url}/models").json()["data"]] == ["llama"]
    assert complete(node, theirs, body={"model": "theirs"}).status_code == 200, "it is there"


def test_a_callers_key_opens_no_door_of_the_admin_api(two_tenants: tuple[PricedNode, Caller, str, str]) -> None:
    _, api, mine, _ = two_tenants
    caller = api.as_(mine)
    for path in ("/me", "/tenants", "/keys", "/usage", "/audit"):
        assert caller.call("GET", path).status_code == 401


def test_names_in_headers_and_bodies_choose_no_payer(two_tenants: tuple[PricedNode, Caller, str, str]) -> None:
    """`user`, `metadata` and headers that other systems take a tenant from: the key alone says who pays."""
    node, api, mine, _ = two_tenants
    acme = next(one["id"] for one in api.get("/tenants")["data"] if one["name"] == "acme")
    headers = {"x-tenant-id": acme, "x-fastpath-tenant": "acme", "openai-organization": acme, "openai-project": "acme"}
    body = {"user": "acme", "metadata": {"tenant": acme}}
    until(lambda: node.booked(api) >= 4, "what was asked is not booked")
    before = node.booked(api)
    assert complete(node, mine, headers=headers, body=body).status_code == 200
    until(lambda: node.booked(api) > before, "it is not booked")
    assert api.get(f"/usage?tenant_id={acme}")["data"] == []


# -- canaries


def forms(secret: str) -> tuple[bytes, ...]:
    """A secret as it might be written down."""
    raw = secret.encode()
    return (raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), secret.rpartition("-")[2].encode())


def test_no_secret_and_no_word_of_a_talk_is_kept_anywhere(priced: Start, mock_process: Any, tmp_path: Path) -> None:
    """Searched: database, outbox, publication, arena, logs, output, command lines and environments of all processes."""
    port, word = free_port(), f"word-canary-{secrets.token_hex(12)}"
    upstream = mock_process("--model", "llama", "--tokens", "6", "--log", "mock.jsonl")
    node = priced(upstream=upstream.url, listen={"port": port})
    arena = arena_folder(node.state / f"127.0.0.1:{port}")
    try:
        api = node.admin_api()
        token, key = make_key(api)
        provider = f"sk-canary-{secrets.token_hex(16)}"
        api.make("/provider-keys", {"name": "canary", "value": provider})
        stranger = f"fp-{secrets.token_hex(4)}-{secrets.token_hex(32)}"
        node.ready_once(token)
        stir(node, upstream, token, stranger, word)
        until(lambda: node.booked(api) >= 9, "what was asked is not booked")
        rotated = api.make(f"/keys/{key['id']}/rotate", {})["token"]
        until(lambda: node.ask(rotated) == 200, "the rotated key never worked")
        places = {**files_below(node.folder), **files_below(arena), **processes_of(node)}
        node.end()
        places |= files_below(node.folder) | {"output": "\n".join(node.lines).encode()}
    finally:
        shutil.rmtree(arena, ignore_errors=True)
    assert {"control.db", "arena", "access.log"} <= {Path(name).name for name in places}
    assert any(name.endswith(".seg") for name in places), "the outbox was searched"
    kept = [api.token, token, rotated, provider, stranger, word, model_words(upstream)]
    for secret in (*kept, UPSTREAM_KEY):
        for form in forms(secret):
            assert [name for name, data in places.items() if form in data and not _may(name, secret)] == [], secret


def _may(name: str, secret: str) -> bool:
    """The supervisor's own environment is where its owner put the upstream key."""
    return secret == UPSTREAM_KEY and name == "environment of the supervisor"


def stir(node: PricedNode, upstream: Any, token: str, stranger: str, word: str) -> None:
    """Talks that go well, badly, and to nobody, with a word in each of them."""
    for stream in (False, True):
        complete(node, token, word, body={"stream": stream})
        complete(node, token, word, body={"stream": stream, "mock": {"status": 500}})
        complete(node, token, word, body={"stream": stream, "mock": {"cut_after": 2}})
        complete(node, stranger, word, body={"stream": stream})
        complete(node, token, word, body={"stream": stream, "model": word})
    complete(node, token, word, headers={"x-request-id": "label"}, body={"user": word, "metadata": {"a": word}})


def model_words(upstream: Any) -> str:
    """Something that the model said: ten characters or more that no other place has by chance."""
    log = (upstream.folder if hasattr(upstream, "folder") else Path()) / "mock.jsonl"
    records = upstream.records() if not log.exists() else [json.loads(line) for line in log.read_text().splitlines()]
    texts = [text for record in records for text in record.get("content", {}).values() if len(text) >= 16]
    assert texts, "no stream was answered"
    return str(texts[0])


def files_below(folder: Path) -> dict[str, bytes]:
    """All files, by their path. A file that goes while it is looked at was read before or is read again."""
    found: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_socket():
                found[str(path)] = path.read_bytes()
        except FileNotFoundError:
            continue
    return found


def processes_of(node: PricedNode) -> dict[str, bytes]:
    """Command lines and environments."""
    found: dict[str, bytes] = {}
    supervisor = psutil.Process(node.process.pid)
    for process in (supervisor, *supervisor.children(recursive=True)):
        name = "the supervisor" if process.pid == supervisor.pid else f"process {process.pid}"
        for what, told in (("environ", "environment"), ("cmdline", "arguments")):
            found[f"{told} of {name}"] = Path(f"/proc/{process.pid}/{what}").read_bytes()
    return found
