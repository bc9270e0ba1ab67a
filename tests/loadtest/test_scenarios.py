"""The scenarios and the traces they are made from."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest.locust.scenarios import SCENARIOS, Scenario
from loadtest.locust.talk import Talk, Turn, body, text_of, text_of_blocks
from loadtest.locust.trace import TRACES, read_azure, read_mooncake

EVERY = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda one: one.name)


def talks(scenario: Scenario, seconds: float = 5.0, seed: int = 1) -> list[Talk]:
    return scenario.shape(seconds, random.Random(seed))


@EVERY
def test_same_seed_same_talks(scenario: Scenario) -> None:
    assert talks(scenario) == talks(scenario)
    assert talks(scenario) != talks(scenario, seed=2)


@EVERY
def test_talks_begin_in_time_and_are_enough(scenario: Scenario) -> None:
    made = talks(scenario)
    assert all(0 <= talk.at < 5.1 for talk in made)
    assert sum(len(talk.turns) for talk in made) >= 100


@EVERY
def test_no_two_bodies_are_equal(scenario: Scenario) -> None:
    bodies = [body(turn, "tag") for talk in talks(scenario, 2.0) for turn in talk.turns]
    assert len(set(bodies)) == len(bodies)


def test_the_azure_slice() -> None:
    rows = read_azure()
    assert len(rows) == 2000
    assert (rows[0].at, rows[0].input, rows[0].output) == (0.0, 374, 44)
    assert all(one.at <= after.at for one, after in pairwise(rows))
    assert rows[-1].at == pytest.approx(424, abs=1)


def test_azure_keeps_the_gaps_of_the_trace() -> None:
    made = talks(SCENARIOS["azure"])
    prompts = [len(talk.turns[0].prompt[0]) // 4 for talk in made]
    rows = read_azure()
    first = next(at for at in range(1000) if [row.input for row in rows[at : at + len(made)]] == prompts)
    assert [talk.at * 8 for talk in made] == pytest.approx(
        [row.at - rows[first].at for row in rows[first : first + len(made)]]
    )


def test_mooncake_prompts_grow_turn_by_turn() -> None:
    for rows in read_mooncake():
        assert len(rows) >= 2
        texts = [text_of_blocks(row.hash_ids, row.input_length) for row in rows]
        for (one, after), text, longer in zip(pairwise(rows), texts, texts[1:], strict=False):
            shared = (len(one.hash_ids) - 1) * 512 * 4
            assert after.input_length > one.input_length
            assert longer[:shared] == text[:shared]


def test_a_mooncake_turn_says_again_what_was_said() -> None:
    made = talks(SCENARIOS["mooncake"])
    for talk in made:
        assert [len(turn.prompt) for turn in talk.turns] == [2 * n + 1 for n in range(len(talk.turns))]
        for turn, after in pairwise(talk.turns):
            assert [len(text) for text in after.prompt[: len(turn.prompt)]] == [len(text) for text in turn.prompt]
            assert "".join(after.prompt).startswith("".join(turn.prompt)[: len("".join(turn.prompt)) // 2048 * 2048])


def test_every_manner_comes() -> None:
    manners = {name: {turn.manner for t in talks(one) for turn in t.turns} for name, one in SCENARIOS.items()}
    assert manners["slow-readers"] == {"read", "slow"}
    assert manners["cancels"] == {"read", "leave_waiting", "leave_streaming"}
    assert manners["azure"] == manners["mooncake"] == manners["bursts"] == {"read"}


def test_a_body_is_a_streamed_chat() -> None:
    sent = json.loads(body(Turn(prompt=("a", "b", "c"), tokens=7), "x"))
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert (sent["stream"], sent["max_tokens"], sent["tag"]) == (True, 7, "x")
    assert sent["stream_options"] == {"include_usage": True}


def test_text_has_its_length() -> None:
    assert [len(text_of("seed", tokens)) for tokens in (0, 1, 100)] == [0, 4, 400]


def test_the_traces_are_small_and_say_where_they_are_from() -> None:
    files = [path for path in TRACES.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 250_000
    readme = (TRACES / "README.md").read_text()
    assert all(path.name in readme for path in files if path.name != "README.md")
    assert "Creative Commons Attribution 4.0" in Path(TRACES / "LICENSE-CC-BY-4.0.txt").read_text()
    assert "Apache License" in Path(TRACES / "LICENSE-APACHE-2.0.txt").read_text()
