"""Sixty labelled situations, all of them right."""

import pytest

from tests.route.scenario_cases import CASES, Case, world_of


def test_there_are_sixty() -> None:
    assert len(CASES) == 60
    assert {case.label for case in CASES} == {"phone", "rack", "farm", "eu", "us", "cheap"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.why)
def test_it_goes_where_a_person_would_send_it(case: Case) -> None:
    choice = world_of(case).decide(**case.ask)
    assert choice.endpoint == case.label, choice
