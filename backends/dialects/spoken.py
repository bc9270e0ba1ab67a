"""Which dialects there are, by the names that settings use. Each is loaded when an endpoint speaks it."""

from backends.base import EndpointSpec
from backends.dialects.dialect import Dialect


def find_dialect(name: str, max_output: int = 0) -> Dialect | None:
    """The dialect called so; None for OpenAI's, which needs no translation. max_output: as in `EndpointSpec`."""
    if name == "anthropic":
        from backends.dialects.anthropic.dialect import Anthropic

        return Anthropic(max_output)
    if name == "gemini":
        from backends.dialects.gemini.dialect import Gemini

        return Gemini()
    if name == "ollama":
        from backends.dialects.ollama.dialect import Ollama

        return Ollama()
    return None


def dialect_of(spec: EndpointSpec) -> Dialect | None:
    """What an endpoint speaks."""
    return find_dialect(spec.dialect, spec.max_output)
