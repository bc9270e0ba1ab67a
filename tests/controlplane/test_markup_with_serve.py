"""A whole node: a tenant of the admin API pays the markup that its admin says, from the next request on."""

from pathlib import Path

import httpx

from tests.conftest import ModelServer
from tests.controlplane.test_with_serve import IN_FORCE, SLACK, ControlledNode, make_key, until


def cost(node: ControlledNode, key: str) -> int:
    """What a chat is charged, nano-units."""
    body = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
    answer = httpx.post(f"{node.url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
    return round(float(answer.headers.get("x-fastpath-cost", 0)) * 1e9) if answer.status_code == 200 else 0


def test_a_tenants_markup_is_charged_within_two_seconds(tmp_path: Path, model_server: ModelServer) -> None:
    place = {"url": model_server.url, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}
    model = {"name": "llama", "endpoints": [place], "price": {"input": 100, "output": 200}, "markup_ppm": 1_000_000}
    with ControlledNode(tmp_path / "node", model_server.url, models=[model]) as node:
        api = node.admin_api()
        token, key = make_key(api)
        other, _ = make_key(api, "umbrella")
        until(lambda: cost(node, token) > 0 and cost(node, other) > 0, "the keys never worked")
        twice = cost(node, other)  # the model's markup doubles the price
        api.edit(f"/tenants/{key['tenant_id']}", {"markup_ppm": 200_000})
        until(lambda: cost(node, token) * 10 == twice * 6, "the tenant's markup never held", IN_FORCE * SLACK)
        assert cost(node, other) == twice
        api.edit(f"/tenants/{key['tenant_id']}", {"markup_ppm": None})
        until(lambda: cost(node, token) == twice, "the model's markup never came back", IN_FORCE * SLACK)
