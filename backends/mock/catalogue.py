"""The models and the server itself, as the Gemini and Ollama dialects list them. Pure functions."""

from datetime import UTC, datetime
from typing import Any

from backends.mock.engine import Engine
from backends.mock.errors import RefusedError
from backends.mock.tokens import digest

CONTEXT = 131_072
VERSION = "0.12.0"


def catalogue(engine: Engine, path: str) -> dict[str, Any] | None:
    """What a GET of `path` gives; None: it is none of these. Raises RefusedError (404)."""
    models = engine.options.models
    match path:
        case "/v1beta/models":
            return {"models": [_gemini_model(name) for name in models]}
        case "/api/version":
            return {"version": VERSION}
        case "/api/tags":
            return {"models": [_ollama_model(name, engine) for name in models]}
        case "/api/ps":
            return {"models": [_running(name, engine) for name in models]}
    if not path.startswith("/v1beta/models/"):
        return None
    name = path.removeprefix("/v1beta/models/")
    if name not in models:
        raise RefusedError(404, f"models/{name} is not found for API version v1beta.", code="model_not_found")
    return _gemini_model(name)


def _gemini_model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": CONTEXT,
        "outputTokenLimit": 8192,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent", "batchEmbedContents"],
    }


def _ollama_model(name: str, engine: Engine) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": _moment(engine.started),
        "size": 1_000_000,
        "digest": digest("model", name).hex(),
        "details": {"format": "gguf", "family": "mock", "parameter_size": "1B", "quantization_level": "Q4_0"},
    }


def _running(name: str, engine: Engine) -> dict[str, Any]:
    kept = {"expires_at": _moment(engine.started + 10**9), "size_vram": 0, "context_length": CONTEXT}
    return _ollama_model(name, engine) | kept


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
