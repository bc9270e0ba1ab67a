"""The resilience run, small: every kind of fault once, and the share of those who did not notice."""

from pathlib import Path

import pytest

from loadtest.resilience.__main__ import parse, run, show
from loadtest.resilience.acts import ACTS, Happened
from loadtest.resilience.load import Visit
from loadtest.resilience.share import wilson


def test_the_interval_is_wilsons() -> None:
    """By hand: 10 of 10 gives 10 / (10 + z^2), z = 1.96; half of 100 gives the textbook's .4038 to .5962."""
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_too_many_who_noticed_are_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    well, ill = Visit(0.0, 0.1, ""), Visit(0.0, 0.1, "status 502")
    assert show([well] * 9_996 + [ill] * 4, [Happened("kill", 0, 0.0, 1.0)])
    assert not show([well] * 9_990 + [ill] * 10, [])
    assert "10 x status 502" in capsys.readouterr().out


@pytest.mark.alone
async def test_callers_do_not_notice(tmp_path: Path) -> None:
    flags = ["--minutes", "0.35", "--rate", "30", "--every", "1.5", "--lasts", "2.5", "--streamed", "0"]
    visits, happened = await run(parse([*flags, "--logs", str(tmp_path)]))
    assert {one.kind for one in happened} == set(ACTS)
    assert [visit.problem for visit in visits if visit.problem] == []
    assert len(visits) == 630
