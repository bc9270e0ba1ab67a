"""What settings must be together: unique names, references that lead somewhere, no open door by accident.

Each rule takes the plain values that were right (anything may be missing) and yields (path, sentence). Sentences name
other settings by path, never by value. Does not know lines or types. Pure.
"""

import os
from collections.abc import Iterator, Set
from typing import Any

from fastpath.settings import Control, Listen, Settings
from fastpath.settings.class_rules import find_class_conflicts
from fastpath.settings.findings import Finding, Values, find_repeats_in, items_of, suggest
from fastpath.settings.issuer_rules import find_issuer_conflicts
from fastpath.settings.policy_rules import find_policy_conflicts
from fastpath.settings.problem import Path, format_path
from fastpath.settings.provider_rules import find_provider_faults, url_of
from fastpath.settings.routing_rules import find_routing_conflicts
from fastpath.settings.syntax import is_loopback, url_identity, url_label
from fastpath.settings.tenancy_rules import find_tenancy_conflicts, known_models


def find_conflicts(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    """Everything that the rules find in the values of a settings file. Values at `hidden` paths are never shown."""
    yield from find_repeats_in(items_of(values, ("models",)), "name")
    yield from find_repeats_in(items_of(values, ("keys",)), "name")
    yield from find_repeats_in(items_of(values, ("keys",)), "hash")
    yield from _find_unknown_models(values, hidden)
    yield from _find_unknown_fallbacks(values, hidden)
    for path, endpoints in _pools(values):
        yield from find_provider_faults(endpoints)
        yield from _find_twin_endpoints(path, endpoints)
    yield from _find_useless_ca(values)
    yield from _find_open_door(values)
    yield from _find_split_queue(values)
    yield from _find_unix_clashes(values)
    yield from _find_port_clash(values)
    yield from _find_open_control(values)
    yield from _find_open_webhooks(values)
    yield from _find_reversed(values)
    yield from _find_two_masters(values)
    yield from find_tenancy_conflicts(values, hidden)
    yield from find_policy_conflicts(values, hidden)
    yield from find_issuer_conflicts(values, hidden)
    yield from find_class_conflicts(values)
    yield from find_routing_conflicts(values, hidden)


def find_foreign_hashes(values: Values, pepper_id: str | None, state_dir: str) -> Iterator[Finding]:
    """Key hashes that the pepper in `state_dir` did not make. `pepper_id` None: there is no pepper yet."""
    for path, key in items_of(values, ("keys",)):
        text = key.get("hash")
        if text is None:
            continue
        if pepper_id is None:
            message = (
                f"cannot match any key: {state_dir} has no pepper. Name the gateway's own state folder "
                "(--state-dir or state_dir), or make the hash there with `fastpath keys hash`"
            )
            yield (*path, "hash"), message
        elif text.split(":")[1] != pepper_id:
            message = (
                f"was made under another pepper than the one in {state_dir}, so its key would be refused: make the "
                "hash again here with `fastpath keys hash`"
            )
            yield (*path, "hash"), message


def _pools(values: Values) -> Iterator[tuple[Path, list[tuple[Path, Values]]]]:
    for path, model in items_of(values, ("models",)):
        yield path, list(items_of(model, (*path, "endpoints")))


def _find_unknown_models(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    if any(not isinstance(model, dict) or "name" not in model for model in values.get("models") or []):
        return  # one of the names is itself a mistake: it may be the one that a key means
    named = {model["name"]: (*path, "name") for path, model in items_of(values, ("models",))}
    if "*" in named:
        return
    shown = [name for name, path in named.items() if path not in hidden]
    for path, key in items_of(values, ("keys",)):
        for i, name in enumerate(key.get("models") or []):
            if isinstance(name, str) and name != "*" and name not in named:
                yield (*path, "models", i), f"is no model of this file: {suggest(name, shown, 'models')}"


def _find_unknown_fallbacks(values: Values, hidden: Set[Path]) -> Iterator[Finding]:
    known = known_models(values, hidden)
    if known is None:
        return
    names, shown = known
    for path, model in items_of(values, ("models",)):
        seen = {model.get("name")}
        for field in ("fallbacks", "substitutes"):
            for i, name in enumerate(model.get(field) or []):
                if name not in names or name == "*":
                    yield (*path, field, i), f"is no model of this file: {suggest(name, shown, 'models')}"
                elif name in seen:
                    yield (*path, field, i), "comes twice, or is the model itself: it is tried once"
                seen.add(name)


def _find_twin_endpoints(pool: Path, endpoints: list[tuple[Path, Values]]) -> Iterator[Finding]:
    places: dict[object, Path] = {}
    labels: dict[str, Path] = {}
    for path, endpoint in endpoints:
        url = url_of(endpoint)
        if url is None:
            continue
        place = (url_identity(url), endpoint.get("model"), endpoint.get("api_key"))
        label = endpoint.get("name") or url_label(url)
        if places.setdefault(place, path) != path:
            yield (*path, "url"), f"is the same endpoint as {format_path(places[place])}: raise its weight instead"
        elif labels.setdefault(label, path) != path:
            tail = "name" if "name" in endpoint else "url"
            yield (*path, tail), f"has the same label as {format_path(labels[label])} in metrics: give it its own name"


def _find_useless_ca(values: Values) -> Iterator[Finding]:
    for _, endpoints in _pools(values):
        for path, endpoint in endpoints:
            if endpoint.get("ca_file") and str(endpoint.get("url", "https:")).startswith("http:"):
                yield (*path, "ca_file"), "has no effect on an http:// URL: write https:// or remove it"


def _setting(values: Values, section: str, name: str) -> Any:
    """A setting of one of the top-level groups: as given, else its default."""
    group = values.get(section) or {}
    return group.get(name, getattr(getattr(Settings(), section), name))


def _given(values: Values, section: str, *names: str) -> Path:
    """The first of `names` that was given: the place where a mistake between several is shown."""
    group = values.get(section) or {}
    return section, next((name for name in names if name in group), names[0])


def _find_open_door(values: Values) -> Iterator[Finding]:
    reachable = _setting(values, "listen", "unix") is None and not is_loopback(_setting(values, "listen", "host"))
    follows = isinstance(values.get("shared"), dict) and values["shared"].get("follow")
    asks = values.get("keys") or values.get("issuers") or values.get("control") is not None or follows
    open_to_all = reachable and not asks
    if open_to_all and not _setting(values, "listen", "insecure"):
        message = (
            "is reachable from other machines while no keys are configured, so anyone could use the models: add "
            "keys (`fastpath keys new`), listen on 127.0.0.1, or set listen.insecure (--insecure)"
        )
        yield ("listen", "host"), message


def _find_split_queue(values: Values) -> Iterator[Finding]:
    if not _setting(values, "listen", "reuse_port"):
        return
    door = _setting(values, "listen", "door")
    if door == "granian" or (door == "auto" and _setting(values, "listen", "tls") is not None):
        message = (
            "needs the native door, which empties its queue before it closes it: Granian would reset the callers that "
            "wait. Set listen.door to native, or remove this"
        )
        yield ("listen", "reuse_port"), message
    elif _setting(values, "listen", "proxy_protocol"):
        yield ("listen", "reuse_port"), "does not go together with listen.proxy_protocol: remove one of them"


_OF_TCP = ("host", "port", "tls", "reuse_port", "proxy_protocol", "trusted_proxies")
_UNIX_PATH_LIMIT = 107  # bytes, of the kernel's sockaddr_un


def _find_unix_clashes(values: Values) -> Iterator[Finding]:
    path = _setting(values, "listen", "unix")
    if path is None:
        return
    if len(os.fsencode(path)) > _UNIX_PATH_LIMIT:
        yield ("listen", "unix"), f"is too long for a Unix socket: at most {_UNIX_PATH_LIMIT} bytes"
    for name in _OF_TCP:
        if _setting(values, "listen", name) not in (getattr(Listen(), name), []):
            yield ("listen", name), "is for TCP and has no effect beside listen.unix: remove one of them"


def _find_port_clash(values: Values) -> Iterator[Finding]:
    port = _setting(values, "listen", "port")
    if port and port == _setting(values, "listen", "admin_port"):
        path = _given(values, "listen", "admin_port", "port")
        yield path, "is the other listener's port too: callers and the administrator need one each"
    control = (values.get("control") or {}).get("port", Control().port) if values.get("control") is not None else 0
    for name in ("port", "admin_port"):
        if control and control == _setting(values, "listen", name):
            yield ("control", "port"), f"is listen.{name} too: the admin API needs a port of its own"


def _find_open_control(values: Values) -> Iterator[Finding]:
    host = (values.get("control") or {}).get("host", Control().host)
    if isinstance(host, str) and not is_loopback(host):
        message = (
            "can be reached by others, who would read admin keys on the way: listen on 127.0.0.1 and put a proxy that "
            "does TLS in front, or run `fastpath control` with a certificate instead"
        )
        yield ("control", "host"), message


def _find_open_webhooks(values: Values) -> Iterator[Finding]:
    control = values.get("control") or {}
    allowed = control.get("allow_hosts", ())
    hooks = list(items_of(control, ("webhooks",)))
    seen = set()
    for path, hook in hooks:
        url, place = hook.get("url"), (hook.get("tenant"), hook.get("name"))
        if url is not None and not url.startswith("https://") and url_identity(url)[1] not in allowed:
            message = "must begin with https://, or lead to a loopback address of a host in control.allow_hosts"
            yield ("control", *path, "url"), message
        if place in seen:
            yield ("control", *path, "name"), "is the name of another webhook of the same tenant: choose another"
        seen.add(place)


def _find_two_masters(values: Values) -> Iterator[Finding]:
    shared = values.get("shared")
    if not isinstance(shared, dict):
        return
    if shared.get("follow") and values.get("control") is not None:
        message = "has no effect beside control, which publishes what others follow: remove one of them"
        yield ("shared", "follow"), message
    if shared.get("ca_file") and "redis" in shared and not str(shared["redis"]).startswith("rediss:"):
        yield ("shared", "ca_file"), "has no effect without TLS: write rediss:// in shared.redis or remove it"


_ORDERED = (
    ("retries", "backoff", "backoff_max"),
    ("dns", "min_ttl", "max_ttl"),
    ("health", "out", "out_max"),
    ("limits", "frame", "memory"),
    ("limits", "json_body", "memory"),
    ("limits", "upload_body", "memory"),
    ("limits", "response_body", "memory"),
    ("idempotency", "answer", "disk"),
)


def _find_reversed(values: Values) -> Iterator[Finding]:
    for section, low, high in _ORDERED:
        if _setting(values, section, low) > _setting(values, section, high):
            yield _given(values, section, low, high), f"makes {section}.{low} larger than {section}.{high}"
