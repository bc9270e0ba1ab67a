"""Azure, and providers that are nearly OpenAI: where a request goes, with which key, and that callers see nothing."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

KEY = "sk-upstream-of-the-tests"


@pytest.fixture(scope="module")
def server(launch_for_module: Any) -> Any:
    return launch_for_module.mock("--model", "gpt", "--tokens", "6")


@pytest.fixture(scope="module")
def node(launch_for_module: Any, door: str, server: Any) -> Any:
    """`v1` and `deployment` are Azure's two APIs, `mistral` a preset at the mock's address."""
    origin, key = server.url.removesuffix("/v1"), "${UPSTREAM_KEY}"
    azure = {"dialect": "azure", "model": "gpt", "api_key": key}
    endpoints = {
        "v1": azure | {"url": f"{origin}/openai/v1"},
        "deployment": azure | {"url": origin, "api_version": "2024-10-21"},
        "mistral": {"preset": "mistral", "url": server.url, "model": "gpt", "api_key": key},
    }
    models = [{"name": name, "endpoints": [endpoint]} for name, endpoint in endpoints.items()]
    return launch_for_module.gateway({"models": models, "listen": {"door": door}})


@pytest.fixture
def client(node: Any, server: Any) -> Iterator[openai.OpenAI]:
    server.reset()
    with openai.OpenAI(base_url=node.url, api_key=node.key, max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture
def ask(client: openai.OpenAI) -> Callable[..., Any]:
    def ask(model: str, **more: Any) -> Any:
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], **more)

    return ask


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("model", "path", "query"),
    [
        ("v1", "/openai/v1/chat/completions", ""),
        ("deployment", "/openai/deployments/gpt/chat/completions", "api-version=2024-10-21"),
    ],
)
def test_azure(ask: Callable[..., Any], server: Any, model: str, path: str, query: str, streamed: bool) -> None:
    answer = ask(model, stream=streamed)
    if streamed:
        assert [chunk.choices[0].finish_reason for chunk in answer][-1] == "stop"
    else:
        assert answer.usage.completion_tokens == 6
    record = server.wait_records(1)[0]
    assert (record["path"], record["query"]) == (path, query)
    fields = dict(record["headers"])
    assert fields["api-key"] == "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()[:16]
    assert not {"authorization", "x-api-key"} & fields.keys()


def test_what_azure_does_not_serve_is_not_asked_of_it(client: openai.OpenAI, server: Any) -> None:
    with pytest.raises(openai.InternalServerError):
        client.post("/rerank", body={"model": "v1", "query": "x", "documents": ["y"]}, cast_to=object)
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="deployment", input="x")
    assert not server.records()


def test_a_provider_is_not_sent_what_it_refuses(ask: Callable[..., Any], server: Any) -> None:
    server.script({"refuse_stream_options": True})
    chunks = list(ask("mistral", stream=True, stream_options={"include_usage": True}, max_completion_tokens=2))
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert len(server.wait_records(1)) == 1  # and not a second, after a refusal
