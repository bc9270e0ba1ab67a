"""Who sees what of a decision: its public JSON, under the names that an audit asks for.

Owns the names and what is left out. A caller sees requests of its own tenant, or of its own key where it has none; what
endpoints are called is told to keys with `insight` alone, and only where somebody gave them a name: the others are
called by their address, which is not the callers' business. Pure.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fastpath.explain.decision import Decision, name_of
from fastpath.money.amount import format_nano
from fastpath.outbox.facts import Payer
from scheduler.choice import Choice, Dropped, Scored

if TYPE_CHECKING:
    from fastpath.explain.rehearsal import Rehearsed
    from fastpath.route.live import LiveEndpoint


class Eyes(msgspec.Struct, frozen=True):
    """Whose names of endpoints are shown. everything: all of them, as administrators see them."""

    names: Collection[str] = ()
    everything: bool = False


ADMIN = Eyes(everything=True)
TENANT = Eyes()


def is_of(decision: Decision, caller: Payer) -> bool:
    """Whether a request was this caller's: of the same tenant, or of the same key where there is no tenant."""
    if caller.tenant:
        return decision.payer.tenant == caller.tenant
    return not decision.payer.tenant and decision.payer.key == caller.key


def show(decision: Decision, eyes: Eyes = TENANT) -> dict[str, Any]:
    """The JSON of a decision for these eyes."""
    called = _Names(eyes, decision)
    payer, tokens, times = decision.payer, decision.tokens, decision.times
    return {
        "object": "decision",
        "id": name_of(decision.request),
        "time": decision.ts,
        "tenant": payer.tenant or None,
        "team": payer.team or None,
        "user": payer.user or None,
        "key": payer.key or None,
        "path": decision.path,
        "stream": decision.stream,
        "model": decision.asked,
        "served_model": decision.model or None,
        "version": decision.version or None,
        "prompt_hash": decision.prompt_hash.hex() or None,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cached_tokens": tokens.cached,
        "reasoning_tokens": tokens.reasoning,
        "tokens_estimated": tokens.estimated,
        "cost": None if decision.cost_nano is None else format_nano(decision.cost_nano),
        "currency": decision.currency or None,
        "latency": {
            "total_ms": round(times.total_ms, 3),
            "ttft_ms": None if times.ttft_ms is None else round(times.ttft_ms, 3),
            "overhead_us": times.overhead_us,
            "queue_ms": round(times.queue_ms, 3),
        },
        "endpoint": called.of(decision.endpoint) if decision.endpoint else None,
        "tier": decision.tier or None,
        "region": decision.region or None,
        "cache_hit": decision.cache_hit,
        "status": decision.status,
        "outcome": decision.outcome,
        "error": decision.error or None,
        "data_class": decision.data_class or None,
        "data_class_from": decision.class_from or None,
        "policy": (decision.policy or None) if eyes.everything else None,
        "clamped": decision.clamped or None,
        "attempts": decision.attempts,
        "failures": [
            {"endpoint": called.of(each.endpoint), "cause": each.cause, "moment": each.moment}
            for each in decision.failures
        ],
        "choices": [_choice(each, called) for each in decision.choices],
        "settings_version": decision.settings_version,
    }


def show_rehearsed(found: "Rehearsed", load: "Sequence[LiveEndpoint] | None" = None) -> dict[str, Any]:
    """The JSON of what would be decided, for the administrator who asks. load: what a running gateway says of its
    endpoints, None where none was asked."""
    called = _Names(ADMIN)
    return {
        "object": "rehearsal",
        "model": found.model or None,
        "endpoint": found.endpoint,
        "tier": found.tier,
        "data_class": found.data_class,
        "policy": found.policy,
        "choices": [_choice(each, called) for each in found.choices],
        "status": found.status or None,
        "answer": msgspec.Raw(found.answer) if found.answer else None,
        "load": None if load is None else [_load(one) for one in load if one.model == found.model],
    }


def _load(live: "LiveEndpoint") -> dict[str, Any]:
    moments = live.moments

    def amount(name: str) -> float:
        return live.amounts.get(name, 0.0)

    return {
        "endpoint": live.endpoint,
        "in_flight": amount("in_flight") + amount("in_flight_elsewhere"),
        "tokens": amount("tokens") + amount("tokens_elsewhere"),
        "queued": amount("queued"),
        "kv_usage": amount("kv_usage"),
        "throughput": amount("throughput"),
        "ttft_s": round(amount("ttft"), 4) or None,
        "sample_age_s": round(-moments["sampled_at"], 3) if "sampled_at" in moments else None,
        "out_for_s": round(max(0.0, moments.get("out_until", 0.0)), 3),
    }


def _choice(choice: Choice, called: "_Names") -> dict[str, Any]:
    return {
        "model": choice.model,
        "endpoint": called.of(choice.endpoint) if choice.endpoint is not None else None,
        "reason": choice.reason,
        "strategy": choice.strategy or None,
        "dropped": [_dropped(each, called) for each in choice.dropped],
        "scored": [_scored(each, called) for each in choice.scored],
    }


def _dropped(dropped: Dropped, called: "_Names") -> dict[str, Any]:
    return {"endpoint": called.of(dropped.endpoint), "step": str(dropped.step), "reason": dropped.reason}


def _scored(scored: Scored, called: "_Names") -> dict[str, Any]:
    return msgspec.structs.asdict(scored) | {"endpoint": called.of(scored.endpoint)}


class _Names:
    """What endpoints are called: by name, or by their place in the decision."""

    def __init__(self, eyes: Eyes, decision: Decision | None = None) -> None:
        self._eyes = eyes
        self._aliases: dict[str, str] = {}
        for name in _endpoints(decision) if decision is not None else ():
            self._aliases.setdefault(name, f"endpoint-{len(self._aliases) + 1}")

    def of(self, endpoint: str) -> str:
        if self._eyes.everything or endpoint in self._eyes.names:
            return endpoint
        return self._aliases.get(endpoint, "endpoint")


def _endpoints(decision: Decision) -> list[str]:
    """In the order in which the decision names them."""
    found = [each.endpoint for each in decision.failures] + [decision.endpoint]
    for choice in decision.choices:
        found += [choice.endpoint or ""]
        found += [each.endpoint for each in choice.scored] + [each.endpoint for each in choice.dropped]
    return [name for name in found if name]
