"""The accounting states, cell by cell."""

import itertools

import pytest

from controlplane.ledger.states import FINAL, OPEN, TABLE, Effect, Event, State, step

CELLS = list(itertools.product(State, Event))
#: What makes a transaction, and what must then be true of the state after it.
POSTING = {Effect.POST, Effect.ESTIMATE, Effect.CORRECT}


def test_every_cell_is_written_down() -> None:
    assert set(TABLE) == set(CELLS)


@pytest.mark.parametrize(("state", "event"), CELLS, ids=lambda one: one.name.lower())
def test_a_cell(state: State, event: Event) -> None:
    after, effect = step(state, event)
    if effect is Effect.NONE:
        assert after is state, "what has no effect changes no state"
    if state in FINAL:
        assert (after, effect) == (state, Effect.NONE), "nothing leaves the end"
    if state is not State.ADMITTED:
        assert after is not State.ADMITTED, "nothing is forgotten"
    if effect in POSTING or effect is Effect.RELEASE:
        assert after not in OPEN, "money that is posted is no longer set aside"
    if after not in OPEN and state in OPEN:
        assert effect in POSTING | {Effect.RELEASE}, "a reservation is released by a posting or a void"
    if effect is Effect.CORRECT:
        assert state is State.ESTIMATED, "only an estimate is corrected"
    if effect in {Effect.POST, Effect.ESTIMATE}:
        assert state in OPEN | {State.ADMITTED}, "a request is posted once"


def test_each_end_releases_exactly_once_on_every_path() -> None:
    """Walks every sequence of five events: postings that are no correction happen at most once."""
    for events in itertools.product(Event, repeat=5):
        state, released = State.ADMITTED, 0
        for event in events:
            state, effect = step(state, event)
            released += effect in {Effect.POST, Effect.ESTIMATE, Effect.RELEASE}
        assert released == (state not in OPEN | {State.ADMITTED}), events
