"""Which requests a load consists of, and when they are due."""

from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean, pstdev

import msgspec
import pytest

from fastpath.bench.load import Arrival, Load, LoadError, make_jobs, mode_of
from fastpath.bench.prompt import WORD_BYTES, WORDS, BodyMaker, PromptMaker
from fastpath.bench.trace import read_trace

AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,879,55
"""
MOONCAKE = """\
{"timestamp": 3000, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}
{"timestamp": 3500, "input_length": 1000, "output_length": 6, "hash_ids": [0, 2]}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text)
    return path


def test_poisson_arrivals_have_the_rate_and_the_spread_of_poisson() -> None:
    due = [job.due for job in islice(make_jobs(Load(rate=50.0), None), 20_000)]
    gaps = [after - before for before, after in pairwise(due) if after is not None and before is not None]
    assert due[0] == 0.0
    assert fmean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(1.0, rel=0.05)


def test_a_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    first, again, other = (list(make_jobs(Load(rate=5.0, requests=50, seed=seed), None)) for seed in (1, 1, 2))
    assert first == again
    assert [job.due for job in first] != [job.due for job in other]


def test_constant_arrivals_are_even_and_end_with_the_duration() -> None:
    jobs = list(make_jobs(Load(rate=4.0, arrivals="constant", duration=1.0), None))
    assert [job.due for job in jobs] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_without_a_rate_nothing_is_due() -> None:
    load = Load(requests=3, input_tokens=7, output_tokens=9)
    assert mode_of(load, None) == "closed"
    assert {(job.due, job.input_tokens, job.output_tokens) for job in make_jobs(load, None)} == {(None, 7, 9)}


def test_azure_traces_are_read(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, AZURE))
    assert [(one.input_tokens, one.output_tokens) for one in found] == [(374, 44), (396, 109), (879, 55)]
    assert [one.at for one in found] == pytest.approx([0.0, 4.314579, 4.541877], abs=1e-5)
    assert len(read_trace(tmp_path / "trace", 2)) == 2


def test_mooncake_traces_are_read(tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, MOONCAKE)) == [Arrival(0.0, 700, 5, (0, 1)), Arrival(0.5, 1000, 6, (0, 2))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no requests in it"),
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,3\n", "trace:2: no column 'GeneratedTokens'"),
        (AZURE + "yesterday,1,1\n", "trace:5: Invalid isoformat"),
        (AZURE + "2023-11-16 18:15:52,-1,1\n", "trace:5: a count of tokens is negative"),
        (AZURE + "2023-11-16 18:15:52,1\n", "trace:5: "),
        (MOONCAKE + "{}\n", "trace:3: Object missing required field"),
    ],
)
def test_a_bad_trace_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        read_trace(written(tmp_path, text))


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="none: No such file"):
        read_trace(tmp_path / "none")


def test_a_trace_is_stretched_by_speed_or_to_a_rate() -> None:
    trace = [Arrival(0.0, 10, 1), Arrival(1.0, 20, 2), Arrival(4.0, 30, 3)]
    assert [job.due for job in make_jobs(Load(speed=2.0), trace)] == [0.0, 0.5, 2.0]
    assert [job.due for job in make_jobs(Load(rate=1.0), trace)] == [0.0, 0.5, 2.0]
    assert [job.due for job in make_jobs(Load(duration=2.0), trace)] == [0.0, 1.0]
    capped = make_jobs(Load(input_tokens=15, output_tokens=2), trace)
    assert [(job.input_tokens, job.output_tokens) for job in capped] == [(10, 1), (15, 2), (15, 2)]


def test_a_trace_at_one_moment_has_no_rate_to_stretch() -> None:
    with pytest.raises(LoadError, match="--rate cannot stretch"):
        make_jobs(Load(rate=1.0), [Arrival(0.0, 1, 1), Arrival(0.0, 1, 1)])


def test_prompts_are_unique_from_their_first_words_on_and_as_long_as_asked() -> None:
    prompts = PromptMaker(seed=3)
    texts = [prompts.make(job) for job in make_jobs(Load(requests=5000, input_tokens=12), None)]
    assert len({tuple(text.split()[:4]) for text in texts}) == 5000
    assert {len(text.split()) for text in texts} == {12}
    assert PromptMaker(seed=3).make(next(make_jobs(Load(input_tokens=12), None))) == texts[0]
    assert PromptMaker(seed=4).make(next(make_jobs(Load(input_tokens=12), None))) != texts[0]


@pytest.mark.parametrize("tokens", [1, 4, 5, 100, 20_000])
def test_a_prompt_has_four_bytes_for_each_token(tokens: int) -> None:
    (job,) = make_jobs(Load(requests=1, input_tokens=tokens), None)
    assert len(PromptMaker(0).make(job)) == tokens * WORD_BYTES - 1  # the first space is left out


def test_prompts_of_a_trace_share_the_blocks_they_shared_and_no_others(tmp_path: Path) -> None:
    jobs = list(make_jobs(Load(), read_trace(written(tmp_path, MOONCAKE))))
    first, second = (PromptMaker(0).make(job).split() for job in jobs)
    assert (len(first), len(second)) == (700, 1000)
    assert first[:512] == second[:512]
    assert first[512:520] != second[512:520]


def test_a_trace_without_its_last_block_is_filled_up() -> None:
    trace = [Arrival(0.0, 600, 1, (0,)), Arrival(0.0, 600, 1, (0,))]
    first, second = (PromptMaker(0).make(job).split() for job in make_jobs(Load(), trace))
    assert (len(first), len(second)) == (600, 600)
    assert first[:512] == second[:512]
    assert first[512:] != second[512:]


def test_words_spell_numbers() -> None:
    assert len(set(WORDS)) == 64
    assert {len(word) for word in WORDS} == {WORD_BYTES - 1}


def test_a_body_asks_for_a_stream_with_usage_and_takes_extra_fields() -> None:
    (job,) = make_jobs(Load(requests=1, output_tokens=9), None)
    extra = {"ignore_eos": True, "max_tokens": None, "max_completion_tokens": 9}
    chat = msgspec.json.decode(BodyMaker("chat", "m", PromptMaker(0), extra).make(job))
    assert chat["messages"][0]["role"] == "user"
    assert chat["stream"] is True
    assert chat["stream_options"] == {"include_usage": True}
    assert (chat["ignore_eos"], chat["max_completion_tokens"]) == (True, 9)
    assert "max_tokens" not in chat
    plain = msgspec.json.decode(BodyMaker("completions", "m", PromptMaker(0), {}).make(job))
    assert (plain["max_tokens"], plain["prompt"]) == (9, chat["messages"][0]["content"])
