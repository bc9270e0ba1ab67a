"""What lines come to is the same, however many objects say who pays."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from controlplane.ledger.posting import Line
from controlplane.ledger.tables import Level
from controlplane.ledger.tally import tally
from fastpath.outbox.facts import Payer

SHARED = Payer("acme", "core", "", "k")
PAYERS = st.just(SHARED) | st.builds(
    Payer, st.sampled_from(["acme", "b"]), st.sampled_from(["", "core"]), st.sampled_from(["", "ann"]), st.just("k")
)
SUMS = st.tuples(*[st.integers(-(2**62), 2**62)] * 5)
LINES = st.builds(
    Line, st.just(()), st.just("d"), st.just("c"), st.just(1), PAYERS, st.sampled_from(["USD", "EUR"]),
    st.integers(0, 2), SUMS,
)  # fmt: skip


@given(st.lists(LINES, max_size=20))
def test_each_level_of_each_payer_gets_all_its_lines(lines: list[Line]) -> None:
    wanted: dict[tuple[str, int, str, str, int], Counter[int]] = {}
    for line in lines:
        payer = line.payer
        for level, name in zip(Level, ("", payer.team, payer.user, payer.key), strict=True):
            if name or level is Level.TENANT:
                sums = wanted.setdefault((payer.tenant, level, name, line.currency, line.quarter), Counter())
                sums.update(dict(enumerate(line.sums)))
    assert tally(lines) == [(*key, *(wanted[key][n] for n in range(5))) for key in sorted(wanted)]
    assert tally(iter(lines)) == tally(lines)
