"""Which dialect a path belongs to. Pure functions."""

import re

#: What a script falls on and a key is asked for.
MODEL_PATHS = ("/v1/", "/v1beta/", "/openai/", "/api/")

_METHODS = "generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents"
_GEMINI = re.compile(rf"/v1(?:beta)?/models/(?P<model>[^/:]+):(?P<method>{_METHODS})")


def gemini_call(path: str) -> tuple[str, str] | None:
    """Model and method of a path of the Gemini API, None for any other path."""
    found = _GEMINI.fullmatch(path)
    return (found["model"], found["method"]) if found else None


def speaks_gemini(path: str) -> bool:
    """Whether errors have Google's shape there."""
    return path.startswith("/v1beta/") or gemini_call(path) is not None


def speaks_ollama(path: str) -> bool:
    """Whether errors have Ollama's shape there."""
    return path.startswith("/api/")
