"""A provider's usage, said again as OpenAI says it. Pure.

Owns the way back from what was read (`billable`, the only reading there is) to one usage object, from which the same
is read again: what is billed does not depend on the dialect that carried it. A side that the provider did not count is
left out, so that it is estimated like any other, and what was impossible stays impossible.
"""

from typing import Any

from backends.dialects.billable import read_billable
from scheduler.money import Billable

#: Says that a report held what cannot be: whoever reads it drops this count, and the report stays disputed.
IMPOSSIBLE_COUNT = -1


def usage_of_reports(*reports: bytes) -> dict[str, Any] | None:
    """OpenAI's usage object for one answer's usage objects, in their order; None when they say nothing."""
    reading = read_billable(*reports)
    if reading is None:
        return None
    counts = reading.usage
    usage: dict[str, Any] = {}
    if reading.prompt_known:
        usage |= {"prompt_tokens": counts.prompt, "prompt_tokens_details": _taken(counts)}
    if reading.answer_known:
        given = {"reasoning_tokens": counts.reasoning, "audio_tokens": counts.audio_output}
        usage |= {"completion_tokens": counts.answer, "completion_tokens_details": given}
    if reading.prompt_known and reading.answer_known:
        usage["total_tokens"] = counts.prompt + counts.answer
    if reading.disputed:
        usage.setdefault("prompt_tokens_details", {})["cache_write_tokens"] = IMPOSSIBLE_COUNT
    return usage


def _taken(counts: Billable) -> dict[str, Any]:
    """The parts of a prompt; what its cache wrote only where it wrote something, for few know those words."""
    taken: dict[str, Any] = {"cached_tokens": counts.cached, "audio_tokens": counts.audio_input}
    if counts.cache_write or counts.cache_write_long:
        kept = {
            "ephemeral_5m_input_tokens": counts.cache_write,
            "ephemeral_1h_input_tokens": counts.cache_write_long,
        }
        taken |= {"cache_creation_tokens": counts.cache_write + counts.cache_write_long, "cache_creation": kept}
    return taken
