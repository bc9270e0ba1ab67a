"""What the mock serves besides models: health, metrics, the model list, and the script of faults.

Synchronous: a request in, an answer out.
"""

import msgspec

from backends.mock.answers.answer import Answer, Fixed, fixed_json
from backends.mock.engine import Engine
from backends.mock.errors import RefusedError
from backends.mock.fault import Script
from backends.mock.request import Request, decode_body

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GETS = ("/health", "/metrics", "/mock/records", "/v1/models")
POSTS = ("/mock/script", "/mock/reset")


def is_unrecorded(path: str) -> bool:
    """Whether requests to `path` leave no record: they are about the server, not its models."""
    return path in ("/health", "/metrics") or path.startswith("/mock/")


def control(engine: Engine, request: Request) -> Answer | None:
    """The answer, or None when the path is a model's. Raises RefusedError (400, 404, 405)."""
    path = request.path
    if path.startswith("/v1/models/"):
        return _model(engine, path.removeprefix("/v1/models/"))
    if path not in GETS + POSTS:
        return None
    if request.method != ("GET" if path in GETS else "POST"):
        raise RefusedError(405, f"{request.method} is not allowed for {path}", code="method_not_allowed")
    return _serve(engine, request)


def _serve(engine: Engine, request: Request) -> Answer:
    match request.path:
        case "/health":
            return fixed_json(b"", {"status": "ok"})
        case "/metrics":
            return Fixed(b"", render_metrics(engine).encode(), METRICS_TYPE)
        case "/v1/models":
            return fixed_json(b"", {"object": "list", "data": engine.model_list()})
        case "/mock/records":
            return Fixed(b"", msgspec.json.encode(list(engine.book.records)))
        case "/mock/script":
            engine.set_script(decode_body(request.body, Script))
        case _:
            engine.reset()
    return fixed_json(b"", {"status": "ok"})


def _model(engine: Engine, name: str) -> Answer:
    found = next((model for model in engine.model_list() if model["id"] == name), None)
    if found is None:
        raise RefusedError(404, f"The model `{name}` does not exist.", param="model", code="model_not_found")
    return fixed_json(b"", found)


def render_metrics(engine: Engine) -> str:
    """Prometheus text with the names vLLM uses."""
    totals, cache = engine.totals, engine.cache
    rows = (
        ("num_requests_running", "gauge", engine.slots.running),
        ("num_requests_waiting", "gauge", engine.slots.waiting),
        ("kv_cache_usage_perc", "gauge", engine.kv_usage),
        ("prefix_cache_queries_total", "counter", cache.queries),
        ("prefix_cache_hits_total", "counter", cache.hits),
        ("prompt_tokens_total", "counter", totals.prompt_tokens),
        ("generation_tokens_total", "counter", totals.generated_tokens),
        ("request_success_total", "counter", totals.requests),
    )
    model = engine.options.models[0].replace("\\", "\\\\").replace('"', '\\"')
    return "".join(_metric(name, kind, value, model) for name, kind, value in rows)


def _metric(name: str, kind: str, value: float, model: str) -> str:
    return f'# TYPE vllm:{name} {kind}\nvllm:{name}{{model_name="{model}"}} {value}\n'
