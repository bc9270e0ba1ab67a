"""What one look at an engine told, whatever the engine: numbers that it gave, None for those that it did not.

Owns the Struct. Parsers (`engines`) make it; `load` turns a row of them into samples.
"""

import msgspec


class Reading(msgspec.Struct, frozen=True):
    """Requests running and waiting; share of the KV cache in use; counters since the engine started: prompt tokens,
    requests, and seconds it spent on prompts. cold: the model is not in memory."""

    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    prompt_tokens: float | None = None
    requests: float | None = None
    prompt_seconds: float | None = None
    cold: bool = False


class Unreadable(ValueError):
    """A page does not say what a page of that engine says. The message says what is missing."""
