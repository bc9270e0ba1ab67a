"""What a tariff remembers of an account says what it would say without."""

from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fastpath.account.held import Lane
from fastpath.account.tariff import DAY, Account, Tariff
from fastpath.endpoints.paths import PATHS
from fastpath.money.catalog import Catalog, Offer
from fastpath.money.currency import RateTable
from fastpath.money.price import Price
from fastpath.money.reserve import Bounds, Clamp
from fastpath.settings import Model

MIDNIGHT = 20_000 * DAY
MODEL = msgspec.convert({"name": "llama", "endpoints": [{"url": "http://127.0.0.1:9001/v1"}]}, Model)
CATALOG: Any = Catalog(SimpleNamespace(), RateTable())  # type: ignore[arg-type]  # nothing is looked up in it
ACCOUNTS = [Account(), Account(markup_ppm=7), Account("USD", 9)]
NAMES = ["llama", "".join(["lla", "ma"]), "other"]


class Target:
    """An endpoint whose provider asks for something else on each day and for each name."""

    def __init__(self, number: int) -> None:
        self.model = None
        self.offers = self
        self._number = number

    def find(self, name: str, at: float) -> Offer:
        return Offer(Price("v", "USD", self._number + 10 * int(at // DAY - 20_000), 100 + len(name)))


TARGETS: list[Any] = [Target(1), Target(2)]
moments = st.sampled_from([MIDNIGHT - 1.0, MIDNIGHT, MIDNIGHT + 5.0, MIDNIGHT + DAY])
asked = st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), moments)


@given(st.lists(asked, max_size=20))
def test_terms_are_those_of_the_endpoint_name_account_and_day(questions: list[tuple[int, int, int, float]]) -> None:
    tariff = Tariff(MODEL, CATALOG)
    for target, name, account, at in questions:
        place = TARGETS[target], NAMES[name], ACCOUNTS[account], at
        found, alone = tariff.terms(*place), Tariff(MODEL, CATALOG).terms(*place)
        assert (found.price, found.markup_ppm, found.currency) == (alone.price, alone.markup_ppm, alone.currency)


@given(st.lists(st.tuples(asked, st.booleans()), max_size=20))
def test_a_lane_is_one_that_was_kept_for_such_requests(
    questions: list[tuple[tuple[int, int, int, float], bool]],
) -> None:
    tariff, opened, present = Tariff(MODEL, CATALOG), dict[Any, list[Lane]](), set[Any]()
    for (path, name, account, at), opens in questions:
        place, day = (NAMES[name], PATHS[path], ACCOUNTS[account]), at // DAY
        present = {key for key in present if key[0] == day}  # one day is remembered
        if opens and (day, *place) not in present:
            present.add((day, *place))
            opened.setdefault((day, *place), []).append(Lane(Bounds(), Clamp(), None, None))
            tariff.lanes.put(place, opened[(day, *place)][-1], at)
        found = tariff.lane(*place, at)
        assert found in opened.get((day, *place), []) or (found is None and (day, *place) not in present)
