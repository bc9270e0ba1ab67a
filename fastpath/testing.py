"""The contract of scorers, filters and pickers, as checks that their authors run in tests of their own.

    from fastpath.testing import check_scorer
    check_scorer(my_scorer)

Each asks the extension about many requests and candidates, ordinary and odd, and raises AssertionError with the first
thing that Fastpath would have to put right. Also the names of the shapes that extensions are written with. Pure.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from scheduler.scorers import Candidate, Filter, Picker, Request, Scorer

__all__ = ["Candidate", "Filter", "Picker", "Request", "Scorer", "check_filter", "check_picker", "check_scorer"]

#: Seconds that one answer may take. Generous: the loop stands still for as long.
PATIENCE = 0.010
MOST = 100


def check_scorer(scorer: Scorer) -> None:
    """One number in [0, 1] for each candidate, the same each time, whatever the candidates."""
    for request, candidates in _questions():
        scores = list(_ask(scorer, request, candidates))
        assert len(scores) == len(candidates), f"{len(scores)} scores for {len(candidates)} candidates"
        for candidate, score in zip(candidates, scores, strict=True):
            assert isinstance(score, int | float), f"{score!r} for {candidate} is no number"
            assert 0 <= score <= 1, f"{score!r} for {candidate} is not in [0, 1]"
        assert scores == list(scorer(request, candidates)), "the same question was answered in two ways"


def check_filter(filter: Filter) -> None:
    """One bool for each candidate."""
    for request, candidates in _questions():
        stays = list(_ask(filter, request, candidates))
        assert len(stays) == len(candidates), f"{len(stays)} answers for {len(candidates)} candidates"
        assert all(isinstance(one, bool) for one in stays), f"not all of {stays!r} are bool"


def check_picker(picker: Picker) -> None:
    """The place of a candidate."""
    for request, candidates in _questions():
        place = _ask(picker, request, candidates)
        assert isinstance(place, int), f"{place!r} is no place"
        assert 0 <= place < len(candidates), f"{place} is not the place of one of {len(candidates)} candidates"


def _ask(extension: Callable[..., Any], request: Request, candidates: Sequence[Candidate]) -> Any:
    """Its answer; the best of three tries must be quick."""
    answer, quickest = _timed(extension, request, candidates)
    for _ in range(2):
        answer, took = _timed(extension, request, candidates)
        quickest = min(quickest, took)
    assert quickest <= PATIENCE, (
        f"took {quickest * 1e3:.1f} ms for {len(candidates)} candidates: requests wait meanwhile"
    )
    return answer


def _timed(extension: Callable[..., Any], request: Request, candidates: Sequence[Candidate]) -> tuple[Any, float]:
    began = time.perf_counter()
    answer = extension(request, candidates)
    return answer, time.perf_counter() - began


def _questions() -> Iterator[tuple[Request, list[Candidate]]]:
    ordinary = _candidates()
    odd = [
        Candidate("bare", "L2", None, None, None, 0.0, 1e9, 1e9, 1_000_000),
        Candidate("idle", "L0", "", "", "", 1.0, 0.0, 0.0, 0),
    ]
    many = [Candidate(f"e{i}", "L1", "eu", "h100", "1", 0.5, i / 10, 0.0, i) for i in range(MOST)]
    for request in _requests():
        for candidates in (ordinary[:1], ordinary, odd, many):
            yield request, candidates


def _requests() -> list[Request]:
    wants: tuple[frozenset[str], ...] = (frozenset(), frozenset({"tools", "json_schema"}))
    return [
        Request("llama", level, prompt, 300.0, wanted, language)
        for level, prompt, wanted, language in product(("P0", "P2"), (0.0, 1e6), wants, (None, "zh"))
    ]


def _candidates() -> list[Candidate]:
    return [
        Candidate("rack", "L1", "eu", "h100", "3.1", 0.8, 0.4, 0.1, 3),
        Candidate("cloud", "L2", "us", None, None, 0.95, 0.3, 0.0, 0),
        Candidate("phone", "L0", None, "npu", "3.1", 0.4, 2.0, 1.5, 1),
    ]
