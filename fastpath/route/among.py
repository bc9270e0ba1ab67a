"""The choice among endpoints of several kinds, or that do not take every request: the five steps, and the score.

Owns the order: what the request wants, who is left for that, what is true now, extensions, judgement, replica, trace.
Called only for models whose endpoints are not all alike (`Lineup.simple`). Synchronous; the worker's loop.
"""

from typing import TYPE_CHECKING

from _native import score
from fastpath import errors
from fastpath.context import RequestContext
from fastpath.errors import GatewayError
from fastpath.route.asked import affinity
from fastpath.route.extensions import candidate, candidates_of, describe
from fastpath.route.trace import Trace
from fastpath.route.wanted import Wanted, want
from scheduler.ask import Ask as PickerAsk
from scheduler.steps import names_of

if TYPE_CHECKING:
    from array import array

    from _native.score import Plan
    from fastpath.route.groups import Lineup, Shortlist
    from fastpath.runtime import Runtime
    from fastpath.snapshot import Route, Target
    from scheduler.scorers import Candidate
    from scheduler.strategies import Strategy

SCENARIO = b"x-fastpath-scenario"
#: Which field of a body asks for a capability.
_ASKED_BY = {"tools": "tools", "json_object": "response_format", "json_schema": "response_format"}


def choose_among(ctx: RequestContext, route: "Route", left: "tuple[Target, ...]", runtime: "Runtime") -> "Target":
    """One of `left`. Raises GatewayError when none of them can serve the request."""
    lineup = route.lineup
    assert lineup is not None
    lineup.reprice(ctx.record.ts)
    wanted = ctx.wanted
    if wanted is None:
        wanted = ctx.wanted = want(ctx, lineup.answer, lineup.asks_language)
    shortlist = lineup.shortlist(ctx, left, wanted)
    strategy, plan = _strategy(ctx, lineup)
    pool, view, ask = lineup.pool, shortlist.view, wanted.ask
    if not view.count:
        _write(ctx, lineup, shortlist, strategy, wanted)
        raise _unable(lineup, shortlist, wanted)
    pool.gather(view, lineup.live, plan, ask, runtime.clock.monotonic())
    extra = _extend(lineup, view, wanted, runtime) if lineup.extensions is not None else None
    trace = _write(ctx, lineup, shortlist, strategy, wanted)
    shortlist.turn += 1
    kind = pool.judge(view, plan, ask, shortlist.turn - 1, extra)
    if trace is not None:
        trace.extra = extra
    if kind < 0:
        raise errors.over_ceiling()
    slots = pool.slots(view, kind)
    slot = slots[0] if len(slots) == 1 else _pick(ctx, lineup, route, slots, wanted, runtime)
    target = lineup.by_slot[slot]
    if trace is not None:
        trace.chosen = lineup.place(target)
    return target


def _strategy(ctx: RequestContext, lineup: "Lineup") -> "tuple[Strategy, Plan]":
    if lineup.scenarios:
        asked = ctx.exchange.fields.get(SCENARIO)
        if asked in lineup.scenarios:
            return lineup.scenarios[asked]
    return lineup.strategy, lineup.plan


def _write(
    ctx: RequestContext, lineup: "Lineup", shortlist: "Shortlist", strategy: "Strategy", wanted: Wanted
) -> Trace | None:
    """Begins the trace of a decision, where there is something to decide."""
    if lineup.kinds == 1 and shortlist.view.count == len(lineup.targets):
        return None
    columns = lineup.pool.columns(shortlist.view)
    trace = Trace(lineup, shortlist, strategy, wanted.ask, wanted.wants, columns)
    if ctx.record.choices is None:
        ctx.record.choices = []
    ctx.record.choices.append(trace)
    return trace


def _extend(lineup: "Lineup", view: "score.View", wanted: Wanted, runtime: "Runtime") -> "array[float] | None":
    extensions = lineup.extensions
    assert extensions is not None
    request = describe(lineup.model.name, wanted)
    candidates = candidates_of(lineup, view.places(), lineup.pool.columns(view))
    extensions.filter(lineup, view, request, candidates, _Faults(runtime).note)
    return extensions.score(request, candidates, _Faults(runtime).note)


def _pick(
    ctx: RequestContext, lineup: "Lineup", route: "Route", slots: list[int], wanted: Wanted, runtime: "Runtime"
) -> int:
    """The replica: by an extension, where one is configured and has an answer, else by the model's own picker."""
    if lineup.extensions is not None and lineup.extensions.picker is not None:
        request = describe(lineup.model.name, wanted)
        replicas = _replicas(lineup, slots, wanted, runtime.clock.monotonic())
        place = lineup.extensions.pick(request, replicas, _Faults(runtime).note)
        if place is not None:
            return slots[place]
    key = affinity(ctx) if route.keyed else 0
    told = PickerAsk(int(wanted.ask.prompt), runtime.clock.monotonic(), key, runtime.random)
    chosen: int = route.picker(runtime.table, slots, told)
    return chosen


def _replicas(lineup: "Lineup", slots: list[int], wanted: Wanted, now: float) -> "list[Candidate]":
    """Replicas of one kind as a picker of another package sees them."""
    places = [lineup.place(lineup.by_slot[slot]) for slot in slots]
    numbers = [lineup.live.predicted(slot, wanted.ask.prompt, now) for slot in slots]
    waits = [lineup.wait(place, now) for place in places]
    return [candidate(lineup, *one) for one in zip(places, numbers, waits, strict=True)]


class _Faults:
    """Counts what extensions do wrong."""

    def __init__(self, runtime: "Runtime") -> None:
        self._metrics = runtime.metrics

    def note(self, name: str, fault: str) -> None:
        self._metrics.count("fastpath_extension_faults_total", (name, fault))


def _unable(lineup: "Lineup", shortlist: "Shortlist", wanted: Wanted) -> GatewayError:
    """Why nobody can serve the request: what it wants that is not there."""
    dropped = shortlist.view.dropped
    lacking = [code for code in dropped if score.LACKS <= code <= score.UNDECLARED]
    if lacking:
        names = names_of(wanted.wants)
        return errors.unsupported(" and ".join(names), _ASKED_BY.get(names[0], "messages"))
    if score.CONTEXT in dropped or score.CONTEXT_UNKNOWN in dropped:
        largest = max([endpoint.context or 0 for endpoint in lineup.endpoints])
        return errors.context_exceeded(int(wanted.ask.need), largest)
    return errors.upstream_failed("The endpoint that this model is pinned to may not serve the request.")
