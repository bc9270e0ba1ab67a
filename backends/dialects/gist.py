"""What the small fields of a request body say: all that decisions ask of it, each looked up once.

Owns the memory of bodies whose small fields are the same, byte for byte: whoever sends many prompts mostly sends them
with the same model and sampling, and what follows from the same bytes need not be decoded and checked again. Does not
own the fields (`openai`) nor the bulk, which differs and is checked each time. What is kept is bounded, and never a
prompt. One event loop.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backends.dialects.openai import Decision

#: Bodies that are remembered, a power of two; of at most so many bytes of small fields. About 1 kB each, at most.
PLACES = 256
LONGEST = 512


class Gist:
    """One body's. Immutable.

    answer_most: tokens that the caller allows one answer, 0 where it does not say; answers: how many it asks for.
    stores: it asked for the answer to be kept; wants_usage: for the usage in its stream. plain_is_sound: a
    dialogue of texts alone needs no closer look.
    """

    def __init__(self, text: bytes, decision: "Decision", decode: Callable[[bytes], Any]) -> None:
        options = decision.stream_options
        self.text = text
        self.decode = decode
        self.decision = decision
        self.model = decision.model
        self.stream = decision.stream is True
        self.stores = decision.store is True
        self.wants_usage = options is not None and options.include_usage is True
        self.answer_most = decision.answer_most()
        self.answers = decision.answers()
        self.plain_is_sound = decision.plain_is_sound


class Gists:
    """Those that were met last, one at each place."""

    def __init__(self) -> None:
        self._met: list[Gist | None] = [None] * PLACES

    def read(self, text: bytes, decode: "Callable[[bytes], Decision]") -> Gist:
        """text: the small fields as one JSON object; decode: of their schema. Raises what it raises."""
        if len(text) > LONGEST:
            return Gist(text, decode(text), decode)
        place = hash(text) % PLACES
        found = self._met[place]
        if found is None or found.decode is not decode or found.text != text:
            found = self._met[place] = Gist(text, decode(text), decode)
        return found
