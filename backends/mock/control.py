"""What the mock serves besides models: health, metrics, the model list, and the script of faults.

Synchronous: a request in, an answer out.
"""

import msgspec

from backends.mock.answers.answer import Answer, Fixed, fixed_json
from backends.mock.catalogue import catalogue
from backends.mock.engine import Engine
from backends.mock.errors import RefusedError
from backends.mock.fault import Script
from backends.mock.metrics import METRICS_TYPE, tell_metrics
from backends.mock.paths import speaks_gemini
from backends.mock.request import Request, decode_body

GETS = ("/health", "/metrics", "/mock/records", "/v1/models")
POSTS = ("/mock/script", "/mock/reset")


def is_unrecorded(path: str) -> bool:
    """Whether requests to `path` leave no record: they are about the server, not its models."""
    return path in ("/health", "/metrics") or path.startswith("/mock/")


def takes_faults(path: str) -> bool:
    """Whether a script may make requests to `path` fail: all but those that set it."""
    return not path.startswith("/mock/")


def control(engine: Engine, request: Request) -> Answer | None:
    """The answer, or None when the path is a model's. Raises RefusedError (400, 404, 405)."""
    path = request.path
    if path.startswith("/v1/models/") and not speaks_gemini(path):
        return _model(engine, path.removeprefix("/v1/models/"))
    listed = catalogue(engine, path) if request.method == "GET" else None
    if listed is not None:
        return fixed_json(b"", listed)
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
            return Fixed(b"", tell_metrics(engine, request.fault), METRICS_TYPE)
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
