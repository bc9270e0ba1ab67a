"""The score kernel against its twin, on whatever facts; what is no number decides nothing; equals take turns."""

from array import array
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _native import score as native
from _native.reference import score as twin
from _native.reference.load import Load as ReferenceLoad
from scheduler.endpoint import EndpointTable

WEIGHTS = (0.40, 0.25, 0.20, 0.15)
TABLE = (0.8, 1.0, 0.0, 1.0, 1.0, 0.3, 1.0, 1.0, 0.6)
amount = st.one_of(st.just(0.0), st.floats(0, 1e4), st.sampled_from([1e-6, 1e12, float("inf"), float("nan"), -1.0]))
tame = st.one_of(st.just(0.0), st.floats(0, 100))
FREE = (0.0,) * 6
NOBODY_SAYS = (-1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def row(slot: int, kind: int, tier: int = 1, quality: float = 0.5, prices: Any = FREE, **more: Any) -> tuple[Any, ...]:
    return (
        slot, kind, tier, more.get("supports", -1), quality, more.get("context", 0.0), more.get("most", 1e9), *prices,
    )  # fmt: skip


def live_of(module: Any, count: int, **columns: list[float]) -> Any:
    names = [
        "tokens",
        "tokens_elsewhere",
        "queued",
        "kv_usage",
        "throughput",
        "sampled_at",
        "ttft",
        "ttft_at",
        "ttft_prior",
        "out_until",
    ]
    table = EndpointTable()
    for place in range(count):
        table.slot(place, 1)
        table.in_flight[place] = int(columns.get("in_flight", [0] * count)[place])
        for name in names:
            table.columns[name][place] = columns.get(name, [0.0] * count)[place]
    return module.Live(table.columns, table.load if module is native else ReferenceLoad(table.columns))


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 7))
    each = st.lists(tame, min_size=count, max_size=count)
    rows = [
        (
            slot,
            draw(st.integers(0, count - 1)),
            draw(st.integers(0, 2)),
            draw(st.integers(-1, 63)),
            draw(st.one_of(st.floats(0, 1), st.just(float("nan")))),
            draw(st.sampled_from([0.0, 100.0, 8_192.0, 200_000.0])),
            draw(st.sampled_from([1.0, 5.0, 1e9])),
            draw(st.one_of(st.just(-1.0), amount)),
            draw(amount),
            draw(amount),
            draw(st.sampled_from([0.0, 50.0])),
            draw(amount),
            draw(amount),
        )
        for slot in range(count)
    ]
    names = (
        "tokens",
        "tokens_elsewhere",
        "queued",
        "throughput",
        "sampled_at",
        "ttft",
        "ttft_at",
        "ttft_prior",
        "out_until",
    )
    columns = {name: draw(each) for name in names}
    columns["kv_usage"] = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    columns["in_flight"] = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))  # type: ignore[assignment]  # whole ones
    return {
        "rows": rows,
        "columns": columns,
        "codes": bytes(draw(st.lists(st.sampled_from([0, 0, 0, 1, 30]), min_size=count, max_size=count))),
        "wants": draw(st.sampled_from([0, 1, 3, 32])),
        "fits": bytes(draw(st.lists(st.sampled_from([100, 70]), min_size=count, max_size=count))),
        "taken": bytes(draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=count, max_size=count))),
        "plan": (
            WEIGHTS, TABLE, draw(st.floats(0.1, 10)), draw(st.floats(0.1, 50)),
            draw(st.one_of(st.just(float("inf")), st.floats(0, 1e6))), 0.9, 5.0, draw(st.booleans()),
            draw(st.floats(0, 5)), draw(st.floats(0, 2)),
        ),
        "ask": (draw(st.integers(0, 2)), draw(tame), draw(tame), draw(st.sampled_from([10.0, 90.0, 1e4, 1e5]))),
        "now": draw(st.floats(0, 100)),
        "turn": draw(st.integers(-5, 100)),
        "overflowing": draw(st.booleans()),
    }  # fmt: skip


def outcome(module: Any, world: dict[str, Any]) -> dict[str, Any]:
    pool = module.Pool(world["rows"], world["overflowing"])
    view = pool.narrow(world["codes"], world["wants"], world["ask"][3], world["fits"])
    plan, ask = module.Plan(*world["plan"]), module.Ask(*world["ask"])
    pool.gather(view, live_of(module, len(world["rows"]), **world["columns"]), plan, ask, world["now"])
    pool.filter(view, world["taken"][: view.count])
    columns = pool.columns(view)
    kind = pool.judge(view, plan, ask, world["turn"])
    slots = pool.slots(view, kind) if kind >= 0 else []
    found = {"kind": kind, "slots": slots, "codes": pool.codes(view), "kept": pool.kept, "degraded": pool.degraded}
    return found | {"overflowing": pool.overflowing, "columns": columns, "scores": pool.scores(view)}


@settings(max_examples=400)
@given(worlds())
def test_kernel_and_twin_decide_alike(world: dict[str, Any]) -> None:
    ours, plain = outcome(native, world), outcome(twin, world)
    scores, expected = ours.pop("scores"), plain.pop("scores")
    assert ours == plain
    assert [one[0] for one in scores] == [one[0] for one in expected]
    for found, right in zip(scores, expected, strict=True):
        assert found == pytest.approx(right, rel=1e-12)
        assert all(0 <= value <= 1 for value in found[1:5]), "no scorer leaves [0, 1]"
        assert 0 <= found[5] <= 1 + 1e-9


@given(worlds())
def test_what_was_written_down_decides_the_same_again(world: dict[str, Any]) -> None:
    first = outcome(native, world)
    pool = native.Pool(world["rows"], world["overflowing"])
    view = pool.narrow(world["codes"], world["wants"], world["ask"][3], world["fits"])
    pool.load(view, first["columns"])
    kind = pool.judge(view, native.Plan(*world["plan"]), native.Ask(*world["ask"]), world["turn"])
    assert (kind, pool.codes(view), pool.scores(view)) == (first["kind"], first["codes"], first["scores"])


def decide(rows: list[Any], turn: int = 0, need: float = 10.0, **columns: list[float]) -> tuple[Any, int]:
    pool = native.Pool(rows)
    view = pool.narrow(bytes(len(rows)), 0, need, bytes([100] * len(rows)))
    plan, ask = native.Plan(WEIGHTS, TABLE, 1.0, 10.0), native.Ask(2, 10.0, 10.0, need)
    pool.gather(view, live_of(native, len(rows), **columns), plan, ask, 50.0)
    return pool, pool.judge(view, plan, ask, turn)


def test_equals_take_turns() -> None:
    rows = [row(0, 0), row(1, 1), row(2, 2), row(3, 3, quality=0.4)]
    assert Counter(decide(rows, turn)[1] for turn in range(300)) == {0: 100, 1: 100, 2: 100}


def test_a_kind_is_as_good_as_the_best_of_its_replicas() -> None:
    rows = [row(0, 0), row(1, 0), row(2, 1)]
    assert decide(rows, ttft=[5.0, 0.1, 0.2], ttft_at=[50.0] * 3)[1] == 0


def test_late_before_full_before_out() -> None:
    rows = [row(0, 0), row(1, 1, most=0), row(2, 2)]
    columns = {"ttft": [60.0, 1.0, 1.0], "ttft_at": [50.0] * 3, "out_until": [0.0, 0.0, 99.0]}
    pool, kind = decide(rows, **columns)
    assert (kind, pool.degraded, pool.kept) == (0, native.LATE, 1)
    rows[0] = row(0, 0, context=1.0)  # too small
    pool, kind = decide(rows, **columns)
    assert (kind, pool.degraded, pool.kept) == (1, native.FULL, 1)
    rows[1] = row(1, 1, context=1.0)
    pool, kind = decide(rows, **columns)
    assert (kind, pool.degraded, pool.kept) == (2, native.OUT, 1)
    rows[2] = row(2, 2, context=1.0)
    assert decide(rows, **columns)[1] == -1


def test_a_stale_sample_fills_nobody() -> None:
    usage = {"kv_usage": [1.0, 0.0], "ttft": [0.1, 0.5], "ttft_at": [50.0, 50.0]}
    rows = [row(0, 0), row(1, 1)]
    assert decide(rows, sampled_at=[49.0, 49.0], **usage)[1] == 1
    assert decide(rows, sampled_at=[1.0, 49.0], **usage)[1] == 0


def test_looks_only_at_those_that_are_left() -> None:
    """By counted work: a thousand endpoints that a filter dropped cost nothing."""
    rows = [row(slot, slot) for slot in range(1_010)]
    pool = native.Pool(rows)
    view = pool.narrow(bytes([0] * 10 + [native.TIER] * 1_000), 0, 10.0, bytes([100] * 1_010))
    plan, ask = native.Plan(WEIGHTS, TABLE, 1.0, 10.0), native.Ask(2, 10.0, 10.0, 20.0)
    for _ in range(100):
        pool.gather(view, live_of(native, 1_010), plan, ask, 1.0)
        pool.judge(view, plan, ask, 0)
    assert pool.looked_at == 100 * 10


@pytest.mark.parametrize(
    "broken",
    [
        lambda: native.Plan((1.0,), TABLE, 1.0, 1.0),
        lambda: native.Plan((float("nan"), 0, 0, 0), TABLE, 1.0, 1.0),
        lambda: native.Plan(WEIGHTS, TABLE, 0.0, 1.0),
        lambda: native.Ask(3, 1.0, 1.0, 1.0),
        lambda: native.Pool([row(-1, 0)]),
        lambda: native.Pool([row(0, 1)]),
        lambda: native.Pool([row(0, 0, tier=3)]),
        lambda: native.Pool([(0, 0)]),
        lambda: native.Pool([row(0, 0)]).narrow(b"", 0, 1.0, b"d"),
        lambda: decide([row(0, 0)], tokens=[0.0])[0].load(native.View(), b"x"),
        lambda: native.Live({**EndpointTable().columns, "ttft": array("q")}, EndpointTable().load),
    ],
)
def test_nonsense_is_refused(broken: Any) -> None:
    with pytest.raises(ValueError):
        broken()


def test_a_slot_that_the_table_has_not_is_refused() -> None:
    pool = native.Pool([row(5, 0)])
    view = pool.narrow(bytes(1), 0, 1.0, b"d")
    plan, ask = native.Plan(WEIGHTS, TABLE, 1.0, 10.0), native.Ask(2, 1.0, 1.0, 1.0)
    with pytest.raises(IndexError):
        pool.gather(view, live_of(native, 1), plan, ask, 1.0)
    with pytest.raises(IndexError):
        live_of(native, 1).predicted(1, 1.0, 1.0)
