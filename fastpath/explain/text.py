"""A decision in words, for a terminal. Owns the wording; says nothing that `view` does not. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from scheduler.choice import Step

_SCORES = ("safety", "capability", "latency", "cost", "total")


def tell(shown: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one decision, of its public JSON."""
    yield _head(shown)
    yield f"  who       {_who(shown)}"
    yield f"  asked     {shown['model']} on {shown['path']}{', streamed' if shown['stream'] else ''}"
    yield f"  class     {_class(shown)}"
    for number, choice in enumerate(shown["choices"], 1):
        yield from _choice(number, choice)
    if not shown["choices"]:
        yield "  choice    none was made: the request was refused before"
    for failure in shown["failures"]:
        yield f"  failed    {failure['endpoint']}: {failure['cause']}, at {failure['moment']}"
    yield f"  served    {_served(shown)}"
    yield f"  tokens    {_tokens(shown)}"
    yield f"  cost      {_cost(shown)}"
    yield f"  time      {_times(shown['latency'])}"
    yield f"  end       {_end(shown)}"
    yield f"  prompt    {shown['prompt_hash'] or 'no fingerprint'}"


def foretell(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a rehearsal, of its JSON."""
    if found["endpoint"] is None:
        yield f"would be refused with {found['status']}: {bytes(found['answer'] or b'').decode('utf-8', 'replace')}"
        return
    yield f"{found['model']} would go to {found['endpoint']}, tier {found['tier']}; nothing was sent"
    yield f"  class     {found['data_class'] or 'not said'}{_rule(found)}"
    for one in found["load"] or ():
        yield f"  load      {one['endpoint']}: {_load(one)}"
    for number, choice in enumerate(found["choices"], 1):
        yield from _choice(number, choice)


def _load(one: Mapping[str, Any]) -> str:
    parts = [f"{one['in_flight']:.0f} in flight with {one['tokens']:.0f} tokens to read"]
    if one["sample_age_s"] is not None:
        parts.append(f"by its own word {one['queued']:.0f} tokens wait, {one['sample_age_s']:.1f} s ago")
    if one["ttft_s"]:
        parts.append(f"first token after {one['ttft_s']:.3f} s")
    if one["out_for_s"]:
        parts.append(f"out for {one['out_for_s']:.1f} s more")
    return ", ".join(parts)


def _rule(shown: Mapping[str, Any]) -> str:
    return f", policy {shown['policy']}" if shown.get("policy") else ""


def _head(shown: Mapping[str, Any]) -> str:
    moment = datetime.fromtimestamp(shown["time"], UTC).isoformat(sep=" ", timespec="milliseconds")
    return f"{shown['id']}  {moment}  settings {shown['settings_version']}"


def _who(shown: Mapping[str, Any]) -> str:
    parts = [f"{name} {shown[name]}" for name in ("tenant", "team", "user", "key") if shown[name]]
    return ", ".join(parts) or "nobody known: no keys are configured"


def _class(shown: Mapping[str, Any]) -> str:
    if not shown["data_class"]:
        return "not said"
    return f"{shown['data_class']}, from the {shown['data_class_from']}{_rule(shown)}"


def _choice(number: int, choice: Mapping[str, Any]) -> Iterator[str]:
    strategy = f", strategy {choice['strategy']}" if choice["strategy"] else ""
    yield f"  choice {number}  {choice['model']} -> {choice['endpoint'] or 'nobody'}, by {choice['reason']}{strategy}"
    for step in Step:
        gone = [f"{each['endpoint']} ({each['reason']})" for each in choice["dropped"] if each["step"] == step]
        if gone:
            yield f"    {step:<12}dropped {', '.join(gone)}"
        elif choice["scored"] or choice["dropped"]:
            yield f"    {step:<12}dropped nobody"
    yield from _table(choice["scored"])


def _table(scored: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not scored:
        return
    width = max(len("endpoint"), *(len(each["endpoint"]) for each in scored))
    yield f"    {'endpoint':<{width}}" + "".join(f"{name:>12}" for name in _SCORES)
    for each in sorted(scored, key=lambda each: -each["total"]):
        yield f"    {each['endpoint']:<{width}}" + "".join(f"{each[name]:>12.4f}" for name in _SCORES)


def _served(shown: Mapping[str, Any]) -> str:
    if not shown["endpoint"]:
        return "by nobody"
    parts = [f"by {shown['endpoint']}", f"tier {shown['tier']}"]
    parts += [f"{name} {shown[name]}" for name in ("region", "version") if shown[name]]
    return f"{', '.join(parts)}, after {shown['attempts']} attempt{'' if shown['attempts'] == 1 else 's'}"


def _tokens(shown: Mapping[str, Any]) -> str:
    if shown["input_tokens"] is None and shown["output_tokens"] is None:
        return "none that are known"
    parts = [f"{shown['input_tokens']} in", f"{shown['output_tokens']} out"]
    parts += [f"{shown[f'{name}_tokens']} {name}" for name in ("cached", "reasoning") if shown[f"{name}_tokens"]]
    return ", ".join(parts) + (" (estimated)" if shown["tokens_estimated"] else "")


def _cost(shown: Mapping[str, Any]) -> str:
    return "no price is known" if shown["cost"] is None else f"{shown['cost']} {shown['currency'] or ''}".strip()


def _times(latency: Mapping[str, Any]) -> str:
    first = "" if latency["ttft_ms"] is None else f", first token after {latency['ttft_ms']:.1f} ms"
    own = "" if latency["overhead_us"] is None else f", {latency['overhead_us']} us of it in the gateway"
    return f"{latency['total_ms']:.1f} ms{first}{own}"


def _end(shown: Mapping[str, Any]) -> str:
    error = f": {shown['error']}" if shown["error"] else ""
    return f"{shown['status']} {shown['outcome']}{error}"
