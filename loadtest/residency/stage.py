"""The settings of a leak run: everything that could lead data astray, and nothing at home that answers.

Owns the file that the gateway reads, and its variants, which a run loads in turn while requests are under way. In none
of them may a request of `order` leave.
"""

from pathlib import Path
from random import Random
from typing import Any

import msgspec

from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher
from loadtest.residency.order import RULED

HOME = "127.0.0.2"
AWAY = "127.0.0.66"
INSIDE = "127.0.0.1"
TENANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strict": {"data_class": "P0"},
    "homely": {"data_class": "P2", "residency": {"tiers": ["L0", "L1"]}},
    "european": {"data_class": "P2", "residency": {"regions": ["eu"]}},
}


class Ports(msgspec.Struct, frozen=True):
    """traps: of the clouds, reached by address and by name. rebound: where a local name leads when it lies.
    dead: where nobody listens. issuer: of an identity provider, which is asked for its keys."""

    traps: tuple[int, ...]
    rebound: int
    dead: int
    names: int
    issuer: int

    @property
    def issuer_url(self) -> str:
        return f"http://{INSIDE}:{self.issuer}/"


def settings_of(folder: Path, ports: Ports, variant: int) -> dict[str, Any]:
    """One variant: weights, order and the default class change, what must stay home does not."""
    random = Random(variant)
    hasher = KeyHasher(make_pepper(folder / "state"))
    dead = [
        {"url": f"http://{HOME}:{ports.dead}/v1", "tier": "L1", "region": "eu", "name": "home-0"},
        {"url": f"http://home.test:{ports.dead}/v1", "tier": "L0", "region": "eu", "name": "home-1"},
    ]
    clouds = [
        {"url": f"http://{AWAY}:{port}/v1", "region": "us", "name": f"cloud-{i}", "weight": random.choice([1, 1000])}
        for i, port in enumerate(ports.traps)
    ]
    clouds.append({"url": f"http://cloud.test:{ports.traps[0]}/v1", "name": "cloud-name", "model": "gpt-5"})
    rebound = {"url": f"http://rebind.test:{ports.rebound}/v1", "tier": "L1", "region": "eu", "name": "rebind"}
    pools: dict[str, list[dict[str, Any]]] = {
        "llama": [*dead, *clouds], "alias": [*({**one, "model": "llama"} for one in dead), *clouds],
        "far-first": [*clouds, *dead], "cloud-only": clouds, "rebinding": [rebound, *clouds], "*": [*clouds, dead[0]],
        RULED: [*dead, *clouds],
    }  # fmt: skip
    models = []
    for name, endpoints in pools.items():
        random.shuffle(endpoints)
        picker = random.choice(["weighted_round_robin", "least_in_flight"])
        models.append({"name": name, "endpoints": endpoints, "picker": picker})
        if name == RULED:
            models[-1]["data_class"] = "P0"
    keys = [{"name": name, "hash": hasher.hash_text(name), "tenant": name} for name in TENANTS]
    keys.append({"name": "ceiling", "hash": hasher.hash_text("ceiling"), "data_class": "P0"})
    return {
        "listen": {"port": 0, "door": "native", "drain": 0.2},
        "state_dir": str(folder / "state"),
        "data_class": random.choice(["P1", "P2"]),
        "local_networks": [f"{HOME}/32"],
        "dns": {"nameservers": [f"127.0.0.1:{ports.names}"], "min_ttl": 0, "max_ttl": 0},
        "retries": {"attempts": 5, "backoff": 0.001, "backoff_max": 0.002, "budget_min": 1_000_000},
        "timeouts": {"connect": 2.0, "total": 20.0},
        "log": {"access": "off"},
        "tenants": [{"name": name, **said} for name, said in TENANTS.items()],
        "keys": keys,
        "issuers": [{
            "name": "corp", "issuer": ports.issuer_url, "jwks_uri": ports.issuer_url + "keys", "tenant": "strict",
            "audience": ["gateway"], "allow_hosts": [INSIDE],
        }],
        "models": models,
    }  # fmt: skip
