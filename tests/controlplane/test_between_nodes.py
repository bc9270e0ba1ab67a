"""Keys made at one node work at another, by way of a real Redis, and it makes no difference what that one forgets."""

import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastpath.settings.control import TRUSTED
from tests.conftest import GatewayNode, ModelServer
from tests.controlplane.test_with_serve import IN_FORCE, SLACK, ControlledNode, make_key, until
from tests.shares.server import Server


class FollowingNode(ControlledNode):
    """A gateway without a control process, which takes what another published."""

    def __init__(self, folder: Path, upstream: str, redis: str, publisher: Path) -> None:
        state = folder / "state"
        state.mkdir(parents=True, mode=0o700)
        for name in ("pepper", TRUSTED):
            if (publisher / name).exists():
                shutil.copy(publisher / name, state / name)
        model = {"name": "llama", "endpoints": [{"url": upstream, "api_key": "${UPSTREAM_KEY}", "tier": "L1"}]}
        settings: dict[str, Any] = {"shared": {"redis": redis, "node": "follower", "follow": True}, "models": [model]}
        GatewayNode.__init__(self, folder, settings | {"keys": []})
        self.state = state


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


def test_a_key_made_at_one_node_works_at_another_until_it_is_deleted(
    tmp_path: Path, model_server: ModelServer, redis: Server
) -> None:
    shared = {"redis": redis.url, "node": "publisher"}
    with ControlledNode(tmp_path / "one", model_server.url, shared=shared) as one:
        api = one.admin_api()
        token, key = make_key(api)
        until(lambda: one.ask(token) == 200, "the key never worked where it was made")
        with FollowingNode(tmp_path / "two", model_server.url, redis.url, one.state) as two:
            until(lambda: two.ask(token) == 200, "the key never worked elsewhere")
            assert two.ask() == 401
            later, other = make_key(api, "umbrella")
            until(lambda: two.ask(later) == 200, "a later key never worked elsewhere", IN_FORCE * SLACK)

            assert redis.say("FLUSHALL") == b"+OK"
            assert [two.ask(each) for each in (token, later, "")] == [200, 200, 401]
            api.call("DELETE", f"/keys/{key['id']}")
            until(lambda: two.ask(token) == 401, "the deleted key went on working elsewhere", IN_FORCE * SLACK)
            assert two.ask(later) == 200

            redis.signal(signal.SIGSTOP)
            api.call("DELETE", f"/keys/{other['id']}")
            until(lambda: one.ask(later) == 401, "the deleted key went on working where it was made")
            assert two.ask(later) == 200  # nobody told it
            redis.signal(signal.SIGCONT)
            until(lambda: two.ask(later) == 401, "the deleted key went on working elsewhere", IN_FORCE * SLACK)
            assert not (two.state / "outbox").exists()  # nobody would read it


def status(node: ControlledNode, token: str) -> int:
    """What a caller gets, over a connection of its own."""
    return httpx.get(f"{node.url}/models", headers={"authorization": f"Bearer {token}"}, timeout=30).status_code


def is_refused(node: ControlledNode, token: str) -> bool:
    return status(node, token) == 401


@pytest.mark.alone
def test_a_revocation_reaches_another_node_within_two_seconds(
    tmp_path: Path, model_server: ModelServer, redis: Server
) -> None:
    shared = {"redis": redis.url, "node": "publisher"}
    with ControlledNode(tmp_path / "one", model_server.url, shared=shared) as one:
        api = one.admin_api()
        _, first = make_key(api)
        issued = [api.make("/keys", {"name": f"key-{n}", "user_id": first["user_id"]}) for n in range(6)]
        with FollowingNode(tmp_path / "two", model_server.url, redis.url, one.state) as two:
            until(lambda: status(two, issued[-1]["token"]) == 200, "the keys never worked elsewhere")
            for each in issued:
                assert status(two, each["token"]) == 200
                assert api.call("DELETE", f"/keys/{each['key']['id']}").status_code == 204
                refused = partial(is_refused, two, each["token"])
                until(refused, "the revoked key works elsewhere", IN_FORCE)


def test_a_node_that_trusts_nobody_yet_says_what_it_needs(
    tmp_path: Path, model_server: ModelServer, redis: Server
) -> None:
    (tmp_path / "one").mkdir(mode=0o700)
    with FollowingNode(tmp_path / "two", model_server.url, redis.url, tmp_path / "one") as two:
        assert f"copy {TRUSTED}" in two.line("no keys are taken from Redis yet")
        assert two.ask() == 401
