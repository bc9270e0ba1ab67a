"""Scorers, filters and pickers of other packages, found by entry point and held at arm's length.

Owns finding them and what they are told. Does not own what becomes of a wrong answer (`scheduler.scorers`). A package
registers one under `fastpath.scorers`, `fastpath.filters` or `fastpath.pickers`, and settings name it: nothing is
loaded because it is installed. One worker's loop.
"""

from array import array
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from fastpath.settings import Routing
from scheduler.scorers import NAMES, Candidate, Fault, Filter, Picker, Request, Scorer, add_scores, keep, pick
from scheduler.steps import names_of

if TYPE_CHECKING:
    from _native.score import View
    from fastpath.route.groups import Lineup
    from fastpath.route.wanted import Wanted

Find = Callable[[str, str], Any]
CLASSES = ("P0", "P1", "P2")


class UnknownExtension(ValueError):
    """Settings name an extension that no installed package registers, or that does not load. The message says which."""


class Extensions:
    """Those that the settings name, loaded."""

    def __init__(
        self,
        scorers: Sequence[tuple[str, float, Scorer]] = (),
        filters: Sequence[tuple[str, Filter]] = (),
        picker: tuple[str, Picker] | None = None,
    ) -> None:
        self.scorers = tuple(scorers)
        self.filters = tuple(filters)
        self.picker = picker

    def without_scorers(self) -> "Extensions | None":
        """For a strategy whose weights are its own."""
        return Extensions((), self.filters, self.picker) if self.filters or self.picker is not None else None

    def filter(
        self, lineup: "Lineup", view: "View", request: Request, candidates: Sequence[Candidate], fault: Fault
    ) -> None:
        """Takes away what the filters say, never all."""
        taken = bytes(view.count)
        for name, filter in self.filters:
            found = keep(name, filter, request, candidates, fault)
            joined = bytes([one | other for one, other in zip(taken, found, strict=True)])
            if all(joined):
                fault(name, "nobody")
            else:
                taken = joined
        lineup.pool.filter(view, taken)

    def score(self, request: Request, candidates: Sequence[Candidate], fault: Fault) -> "array[float] | None":
        """What the scorers add to each total."""
        if not self.scorers:
            return None
        sums = array("d", [0.0] * len(candidates))
        for name, weight, scorer in self.scorers:
            add_scores(sums, name, weight, scorer, request, candidates, fault)
        return sums

    def pick(self, request: Request, candidates: Sequence[Candidate], fault: Fault) -> int | None:
        """The place of the candidate to take, None: the model's own picker decides."""
        if self.picker is None:
            return None
        name, picker = self.picker
        return pick(name, picker, request, candidates, fault)


def load_extensions(routing: Routing, find: Find | None = None) -> Extensions | None:
    """What the settings name; None for nothing. Raises UnknownExtension."""
    found = find or _find
    if not routing.scorers and not routing.filters and routing.picker is None:
        return None
    return Extensions(
        [(one.name, one.weight, found("scorer", one.name)) for one in routing.scorers],
        [(name, found("filter", name)) for name in routing.filters],
        None if routing.picker is None else (routing.picker, found("picker", routing.picker)),
    )


def describe(model: str, wanted: "Wanted") -> Request:
    """A request as extensions see it."""
    ask = wanted.ask
    wants = frozenset(names_of(wanted.wants))
    return Request(model, CLASSES[ask.data_class], ask.prompt, ask.answer, wants, wanted.language)


def candidates_of(lineup: "Lineup", places: Sequence[int], columns: bytes) -> list[Candidate]:
    """Endpoints as extensions see them. columns: what was gathered of these places."""
    numbers = memoryview(columns).cast("d")
    return [candidate(lineup, place, numbers[3 * at], numbers[3 * at + 1]) for at, place in enumerate(places)]


def candidate(lineup: "Lineup", place: int, ttft: float, wait: float) -> Candidate:
    """One endpoint as extensions see it."""
    endpoint = lineup.endpoints[place]
    return Candidate(
        lineup.names[place],
        endpoint.tier,
        endpoint.region,
        endpoint.chip,
        endpoint.version,
        endpoint.quality,
        ttft,
        wait,
        lineup.in_flight(place),
    )


def _find(sort: str, name: str) -> Any:
    group = NAMES[sort]
    for point in entry_points(group=group, name=name):
        try:
            return point.load()
        except Exception as error:  # whatever an import of somebody else's code raises
            message = f"the {sort} {name!r} of {point.value} does not load: {error}"
            raise UnknownExtension(message) from error
    raise UnknownExtension(f"no installed package has a {sort} {name!r} (entry point group {group}): install it")
