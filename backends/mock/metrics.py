"""The mock's page of metrics, in the words of the engine that it pretends to be: true numbers, or as a fault has it.

Owns the names. Synchronous.
"""

from backends.mock.engine import Engine
from backends.mock.fault import Fault

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Numbers that no engine has, for readers that must not believe them.
WRONG = ("NaN", "-1", "+Inf", "1e309", "nothing", "-0.5", "1e30", "0x10")

Row = tuple[str, str, float]


def tell_metrics(engine: Engine, fault: Fault | None) -> bytes:
    """The page of this moment; of an earlier one, or a wrong one, where the request's fault says so."""
    kind = fault.metrics if fault is not None else None
    if kind == "frozen":
        engine.frozen = engine.frozen or render_metrics(engine).encode()
        return engine.frozen
    engine.frozen = b""
    return render_metrics(engine, wrong=kind == "wrong").encode()


def render_metrics(engine: Engine, *, wrong: bool = False) -> str:
    """Prometheus text with the names of the engine that the options name."""
    speaks = engine.options.engine
    rows = {"vllm": _vllm, "sglang": _sglang, "llama.cpp": _llamacpp}[speaks](engine)
    model = engine.options.models[0].replace("\\", "\\\\").replace('"', '\\"')
    labels = "" if speaks == "llama.cpp" else f'{{model_name="{model}"}}'
    values = (WRONG[place % len(WRONG)] if wrong else str(value) for place, (_, _, value) in enumerate(rows))
    return "".join(
        f"# TYPE {name} {kind}\n{name}{labels} {value}\n" for (name, kind, _), value in zip(rows, values, strict=True)
    )


def _vllm(engine: Engine) -> tuple[Row, ...]:
    totals, cache = engine.totals, engine.cache
    return (
        ("vllm:num_requests_running", "gauge", engine.slots.running),
        ("vllm:num_requests_waiting", "gauge", engine.slots.waiting),
        ("vllm:kv_cache_usage_perc", "gauge", engine.kv_usage),
        ("vllm:prefix_cache_queries_total", "counter", cache.queries),
        ("vllm:prefix_cache_hits_total", "counter", cache.hits),
        ("vllm:prompt_tokens_total", "counter", totals.prompt_tokens),
        ("vllm:generation_tokens_total", "counter", totals.generated_tokens),
        ("vllm:request_success_total", "counter", totals.requests),
    )


def _sglang(engine: Engine) -> tuple[Row, ...]:
    totals, cache = engine.totals, engine.cache
    return (
        ("sglang:num_running_reqs", "gauge", engine.slots.running),
        ("sglang:num_queue_reqs", "gauge", engine.slots.waiting),
        ("sglang:token_usage", "gauge", engine.kv_usage),
        ("sglang:cache_hit_rate", "gauge", cache.hits / max(1, cache.queries)),
        ("sglang:prompt_tokens_total", "counter", totals.prompt_tokens),
        ("sglang:generation_tokens_total", "counter", totals.generated_tokens),
        ("sglang:num_requests_total", "counter", totals.requests),
    )


def _llamacpp(engine: Engine) -> tuple[Row, ...]:
    totals = engine.totals
    return (
        ("llamacpp:requests_processing", "gauge", engine.slots.running),
        ("llamacpp:requests_deferred", "gauge", engine.slots.waiting),
        ("llamacpp:kv_cache_usage_ratio", "gauge", engine.kv_usage),
        ("llamacpp:prompt_tokens_total", "counter", totals.prompt_tokens),
        ("llamacpp:prompt_seconds_total", "counter", totals.requests * engine.options.ttft),
        ("llamacpp:tokens_predicted_total", "counter", totals.generated_tokens),
    )
