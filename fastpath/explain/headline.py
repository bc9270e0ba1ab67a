"""`x-fastpath-decision`: a decision in one line, for callers whose key has `insight`. Pure.

Printable ASCII, at most `MOST` bytes. An endpoint that was given no name is `unnamed`: its label is its address.
"""

from typing import Final

from scheduler.choice import Choice

NAME: Final = b"x-fastpath-decision"
MOST: Final = 255
_LONGEST: Final = 64


def headline(choice: Choice, tier: str, named: bool) -> bytes:
    """Model, endpoint, tier, reason, and the score where there was one."""
    parts = [f"model={_plain(choice.model)}"]
    endpoint = choice.endpoint if named else "unnamed"
    parts += [f"endpoint={_plain(endpoint or '-')}", f"tier={_plain(tier)}", f"reason={_plain(choice.reason)}"]
    score = next((scored.total for scored in choice.scored if scored.endpoint == choice.endpoint), None)
    if score is not None:
        parts.append(f"score={score:.4f}")
    return "; ".join(parts).encode()[:MOST]


def _plain(text: str) -> str:
    """The text as a token: anything that could end a part or a line is a `?`."""
    kept = [letter if "!" <= letter <= "~" and letter not in ';="\\' else "?" for letter in text[:_LONGEST]]
    return "".join(kept) or "-"
