"""What of the settings is to be watched, as the watch process is told: endpoints, their keys, and name servers.

Pure. A process that only asks endpoints how they are gets nothing else of the settings.
"""

from urllib.parse import urlsplit

import msgspec

from backends.watch.paths import PATHS
from backends.watch.plan import Polling, Probing, Watched, origin_of
from fastpath.settings import Dns, Endpoint, Load, Probe, Settings


class Plan(msgspec.Struct, frozen=True):
    """Whom to ask what, and how their names become addresses."""

    watched: tuple[Watched, ...] = ()
    dns: Dns = Dns()


def plan_of(settings: Settings) -> Plan:
    """The plan that settings ask for; nobody is watched where they say so."""
    if not settings.watch.enabled:
        return Plan(dns=settings.dns)
    every = (_watched(model.name, endpoint, settings) for model in settings.models for endpoint in model.endpoints)
    return Plan(tuple(one for one in every if one.probing is not None or one.polling is not None), settings.dns)


def _watched(model: str, endpoint: Endpoint, settings: Settings) -> Watched:
    probe = endpoint.probe or settings.watch.probe
    return Watched(
        model=model,
        endpoint=endpoint.label,
        url=endpoint.url,
        serves=endpoint.model,
        api_key=endpoint.api_key.reveal() if endpoint.api_key is not None else None,
        ca_file=endpoint.ca_file,
        tier=endpoint.tier,
        networks=settings.local_networks if endpoint.tier != "L2" else None,
        throughput=endpoint.throughput,
        probing=_probing(endpoint, probe) if probe is not None and probe.enabled else None,
        polling=_polling(endpoint, endpoint.load) if endpoint.load is not None else None,
    )


def _probing(endpoint: Endpoint, probe: Probe) -> Probing:
    usual = probe.path is None
    return Probing(
        target=probe.path or f"{urlsplit(endpoint.url).path.rstrip('/')}/models",
        expect=probe.expect or ("json" if usual else "ok"),
        interval=probe.interval,
        timeout=probe.timeout,
        optional=usual,
    )


def _polling(endpoint: Endpoint, load: Load) -> Polling:
    return Polling(
        engine=load.engine,
        url=load.url or origin_of(endpoint.url) + PATHS[load.engine],
        interval=load.interval,
        busy_interval=min(load.busy_interval, load.interval),
        timeout=load.timeout,
    )
