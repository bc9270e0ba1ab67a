"""What an extension is: a scorer, a filter or a picker is one function over a request and its candidates.

Owns the shapes that extensions see and what becomes of what they say: numbers outside [0, 1], answers of a wrong length
and exceptions are put right and counted, and never end a request. Does not own where extensions come from
(`fastpath.route.extensions`) or what they weigh. Called on the worker's loop: an extension must not block.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Final

import msgspec


class Request(msgspec.Struct, frozen=True):
    """What an extension may know of a request. prompt, answer: tokens, estimated. wants: capabilities. language: as
    `zh`, None: not known."""

    model: str
    data_class: str
    prompt: float
    answer: float
    wants: frozenset[str]
    language: str | None


class Candidate(msgspec.Struct, frozen=True):
    """An endpoint that is still in question. ttft, wait: predicted seconds to the first token, and of prompts that wait
    there. Facts that nobody stated are None."""

    name: str
    tier: str
    region: str | None
    chip: str | None
    version: str | None
    quality: float
    ttft: float
    wait: float
    in_flight: int


#: A number in [0, 1] for each candidate, 1 the best.
Scorer = Callable[[Request, Sequence[Candidate]], Sequence[float]]
#: Whether each candidate may stay.
Filter = Callable[[Request, Sequence[Candidate]], Sequence[bool]]
#: The number of the candidate to take; they are replicas of one kind.
Picker = Callable[[Request, Sequence[Candidate]], int]
#: Told the extension's name and what was wrong with it: raised, length, range or nobody.
Fault = Callable[[str, str], None]

NAMES: Final = {"scorer": "fastpath.scorers", "filter": "fastpath.filters", "picker": "fastpath.pickers"}


def add_scores(
    sum: "array[float]", name: str, weight: float, scorer: Scorer, request: Request, candidates: Sequence[Candidate],
    fault: Fault,
) -> None:  # fmt: skip
    """Adds an extension's scores, clamped and weighed. One that fails adds nothing."""
    found = _ask(name, scorer, request, candidates, fault)
    if found is None:
        return
    for place, value in enumerate(found):
        score = _unit(value)
        if score != value:
            fault(name, "range")
        sum[place] += weight * score


def keep(name: str, filter: Filter, request: Request, candidates: Sequence[Candidate], fault: Fault) -> bytes:
    """A byte for each candidate, 1: taken away. A filter that fails, or leaves nobody, takes nobody away."""
    found = _ask(name, filter, request, candidates, fault)
    if found is None:
        return bytes(len(candidates))
    taken = bytes([0 if stays else 1 for stays in found])
    if all(taken):
        fault(name, "nobody")
        return bytes(len(candidates))
    return taken


def pick(name: str, picker: Picker, request: Request, candidates: Sequence[Candidate], fault: Fault) -> int | None:
    """The place that an extension picks, None when it fails."""
    try:
        place = picker(request, candidates)
    except Exception:  # somebody else's code: whatever it is, the request goes on
        fault(name, "raised")
        return None
    if not isinstance(place, int) or not 0 <= place < len(candidates):
        fault(name, "range")
        return None
    return place


def _ask(
    name: str, extension: Callable[..., Sequence[float]], request: Request, candidates: Sequence[Candidate],
    fault: Fault,
) -> list[float] | None:  # fmt: skip
    try:
        found = list(extension(request, candidates))
    except Exception:  # somebody else's code: whatever it is, the request goes on
        fault(name, "raised")
        return None
    if len(found) != len(candidates):
        fault(name, "length")
        return None
    return found


def _unit(value: object) -> float:
    """Into [0, 1]; what is no number is 0."""
    if not isinstance(value, int | float) or not value > 0:
        return 0.0
    return min(float(value), 1.0)
