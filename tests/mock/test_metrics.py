"""Whose words the mock's page of metrics has, and what a script makes of it and of `/health`."""

import pytest

from backends.mock import Fault

WORDS = {
    "vllm": ("vllm:num_requests_running", "vllm:prompt_tokens_total"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    "llama.cpp": ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
}


async def page(mock):
    return (await mock.fetch(b"", "/metrics", method="GET")).body.decode()


@pytest.mark.parametrize("engine", WORDS)
async def test_it_speaks_as_the_engine_that_it_pretends_to_be(start, engine):
    mock = await start(engine=engine)
    text = await page(mock)
    assert all(word in text for word in WORDS[engine])
    assert not any(word in text for other in WORDS if other != engine for word in WORDS[other])


async def test_a_script_makes_its_numbers_wrong(mock):
    mock.server.script([Fault(metrics="wrong")], times=1, path="/metrics")
    assert " NaN\n" in await page(mock)
    assert "NaN" not in await page(mock)


async def test_a_script_freezes_them(mock):
    mock.server.script([Fault(metrics="frozen")], path="/metrics")
    first = await page(mock)
    await mock.chat()
    assert await page(mock) == first
    mock.server.script([])
    assert await page(mock) != first


async def test_health_and_metrics_fail_when_told_to(mock):
    mock.server.script([Fault(status=503)], path="/health")
    assert (await mock.fetch(b"", "/health", method="GET")).status == 503
    assert "vllm:" in await page(mock)
    mock.server.script([Fault(garbage=True)], path="/metrics")
    assert b"HTTP/1.1 200" not in (await mock.fetch(b"", "/metrics", method="GET")).raw
    assert (await mock.fetch(b"", "/health", method="GET")).status == 200


async def test_the_script_itself_cannot_be_made_to_fail(mock):
    mock.server.script([Fault(status=503)], path="/mock/reset")
    assert (await mock.fetch(b"", "/mock/reset")).status == 200
