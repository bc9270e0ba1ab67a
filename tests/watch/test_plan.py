"""What of the settings the watch process is told."""

import msgspec

from fastpath.process.watched import Plan, plan_of
from fastpath.settings import Endpoint, Load, Model, Probe, Settings, Watch
from fastpath.settings.secret import Secret

ONE = Endpoint(url="http://one:9001/v1", name="one", api_key=Secret("sk-one"), model="m1", tier="L1")


def plan(*endpoints: Endpoint, watch: Watch | None = None) -> Plan:
    return plan_of(Settings(models=(Model(name="llama", endpoints=endpoints),), watch=watch or Watch()))


def test_nobody_is_watched_unasked() -> None:
    assert plan(ONE).watched == ()


def test_an_endpoints_own_probe_wins_over_the_usual_one() -> None:
    own = msgspec.structs.replace(ONE, name="own", probe=Probe(path="/health", interval=3))
    off = msgspec.structs.replace(ONE, name="off", probe=Probe(enabled=False))
    one, two = plan(ONE, own, off, watch=Watch(probe=Probe())).watched
    assert one.probing is not None
    assert two.probing is not None
    assert (one.probing.target, one.probing.expect, one.probing.optional) == ("/v1/models", "json", True)
    assert (two.probing.target, two.probing.expect, two.probing.optional) == ("/health", "ok", False)
    assert (two.probing.interval, two.endpoint) == (3, "own")


def test_the_page_of_load_is_the_engines_usual_one_or_the_one_given() -> None:
    usual = msgspec.structs.replace(ONE, load=Load(engine="ollama"))
    given = msgspec.structs.replace(ONE, name="two", load=Load(engine="triton", url="http://two:8002/metrics"))
    one, two = plan(usual, given).watched
    assert one.polling is not None
    assert two.polling is not None
    assert (one.polling.url, one.serves) == ("http://one:9001/api/ps", "m1")
    assert two.polling.url == "http://two:8002/metrics"


def test_what_is_turned_off_asks_nobody() -> None:
    loaded = msgspec.structs.replace(ONE, load=Load(engine="vllm"))
    assert plan(loaded, watch=Watch(enabled=False, probe=Probe())).watched == ()


def test_a_plan_travels_with_its_keys_and_shows_them_to_nobody() -> None:
    made = plan(ONE, watch=Watch(probe=Probe()))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Plan) == made
    assert made.watched[0].api_key == "sk-one"
    assert "sk-one" not in repr(made)
