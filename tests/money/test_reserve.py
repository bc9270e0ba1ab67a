"""The worst case of a request: what is read from its body, what is clamped and patched, and that nothing costs more."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _native.jsonscan import Fields
from backends.dialects.openai import set_number, splice
from fastpath.money.ask import CHOICES_MOST, Api, Ask, Patch, count_media, read_ask
from fastpath.money.price import Billable, Price, Reading, nano_of, pico_of
from fastpath.money.reserve import (
    ANSWER_ASSUMED,
    CONTEXT_ASSUMED,
    MEDIA_MOST,
    TEMPLATE_MOST,
    Bounds,
    Clamp,
    Reservation,
    reserve,
)
from fastpath.money.sanity import Settled, settle_usage

FIELDS = Fields([
    "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "logprobs", "top_logprobs", "prompt",
    "input", "previous_response_id", "conversation",
])  # fmt: skip
PRICE = Price("v", "USD", input=3_000_000, output=15_000_000)


def patch_body(body: bytes, patches: Iterable[Patch]) -> bytes:
    members = FIELDS.read(body)
    return splice(body, [set_number(members, patch.name, patch.value) for patch in patches])


def ask(api: Api = "chat", **members: Any) -> Ask:
    body = json.dumps(members).encode()
    return read_ask(body, FIELDS.read(body).spans(), api)


def held(api: Api = "chat", bounds: Bounds | None = None, clamp: Clamp | None = None, **members: Any) -> Reservation:
    return reserve(ask(api, **members), api, bounds or Bounds(), clamp or Clamp(), PRICE)


@pytest.mark.parametrize(
    ("api", "members", "answers"),
    [
        ("chat", {"max_tokens": 100}, 100),
        ("chat", {"max_completion_tokens": 100}, 100),
        ("chat", {"max_tokens": 100, "max_completion_tokens": 250}, 250),  # servers differ: the larger
        ("chat", {"max_tokens": 100, "n": 3}, 300),
        ("chat", {"max_tokens": 100, "max_output_tokens": 9_000}, 100),
        ("completions", {"prompt": "a", "max_tokens": 100, "n": 2, "best_of": 5}, 500),
        ("completions", {"prompt": ["a", "b", "c"], "max_tokens": 100, "n": 2}, 600),
        ("completions", {"prompt": [1, 2, 3], "max_tokens": 100}, 100),
        ("completions", {"prompt": [[1, 2], [3]], "max_tokens": 100}, 200),
        ("completions", {"prompt": [], "max_tokens": 100}, 100),
        ("responses", {"input": "a", "max_output_tokens": 100}, 100),
        ("responses", {"input": "a", "max_output_tokens": 100, "max_tokens": 7}, 100),
        ("messages", {"max_tokens": 100}, 100),
        ("embeddings", {"input": ["a", "b"]}, 0),
        ("other", {"query": "a"}, 0),
    ],
)
def test_answers_are_bounded_by_what_was_asked(api: Api, members: dict[str, Any], answers: int) -> None:
    reservation = held(api, **members)
    assert reservation.answer_most == answers
    assert not reservation.assumed
    assert not reservation.patches


def test_without_a_limit_the_model_is_the_bound() -> None:
    assert held(bounds=Bounds(max_output=4_096)).answer_most == 4_096
    assert held(bounds=Bounds(max_output=4_096), max_tokens=9_999).answer_most == 4_096
    assert held(bounds=Bounds(context=8_192), max_tokens=9_999).answer_most == 8_192
    assert held(bounds=Bounds(max_output=100, reasoning_beside=50), n=2).answer_most == 300
    unknown = held()
    assert unknown.answer_most == ANSWER_ASSUMED
    assert unknown.assumed


@pytest.mark.parametrize("limit", [None, 1.5, "100", -3, 1e300, [], True])
def test_a_limit_that_cannot_be_read_is_none(limit: Any) -> None:
    assert held(bounds=Bounds(max_output=4_096), max_tokens=limit).answer_most == 4_096
    assert held(bounds=Bounds(max_output=4_096), max_tokens=limit, max_completion_tokens=7).answer_most in (7, 4_096)
    assert held(bounds=Bounds(max_output=10), n=2.0).answer_most == 10 * CHOICES_MOST


def test_prompts_are_bounded_by_their_bytes() -> None:
    content = "多少钱" * 100
    body = json.dumps(
        {"messages": [{"role": "user", "content": content}], "max_tokens": 1}, ensure_ascii=False
    ).encode()
    reservation = reserve(read_ask(body, FIELDS.read(body).spans(), "chat"), "chat", Bounds(), Clamp(), PRICE)
    assert reservation.prompt_most == len(body) + TEMPLATE_MOST
    assert len(content.encode()) < reservation.prompt_most
    assert held(bounds=Bounds(context=500), max_tokens=1, messages=content).prompt_most == 500
    assert held("embeddings", Bounds(context=500), input=[content] * 3).prompt_most == 1_500


def test_what_the_provider_remembers_is_bounded_by_the_model() -> None:
    assert held("responses", Bounds(context=9_000), previous_response_id="r", max_output_tokens=1).prompt_most == 9_000
    assert held("responses", previous_response_id=None, max_output_tokens=1).prompt_most < 2_000
    unknown = held("responses", conversation={"id": "c"}, max_output_tokens=1)
    assert unknown.prompt_most == CONTEXT_ASSUMED
    assert unknown.assumed


def test_a_short_address_of_a_large_picture_is_bounded_by_the_picture() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    reservation = held(max_tokens=1, messages=[{"role": "user", "content": [picture]}])
    assert reservation.prompt_most >= MEDIA_MOST
    assert held(max_tokens=1, messages="an image_url and a file").prompt_most < MEDIA_MOST


@pytest.mark.parametrize(
    "part",
    [
        '{"type":"image_url","image_url":{"url":"https://a/b"}}', '{"type":"input_image","file_id":"f"}',
        '{"type":"image","source":{"type":"url","url":"https://a/b"}}', '{"type":"document","source":{}}',
        '{"type":"file","file":{"file_id":"f"}}', '{"type":"input_file","file_id":"f"}', '{"type":"video_url"}',
        '{"type":"input_audio","input_audio":{"data":""}}', '{"type":"\\u0069mage_url"}', '{"type":"ima\\u0067e"}',
        '{"image_url":{"url":"https://a/b"}}',
    ],
)  # fmt: skip
def test_every_kind_of_media_is_counted_however_it_is_spelt(part: str) -> None:
    assert count_media(f'{{"messages":[{{"content":[{part},{part}]}}]}}'.encode()) >= 2


def test_what_is_known_is_not_looked_for() -> None:
    body = b'{"max_tokens":10,"content":[{"type":"image_url"},{"type":"input_audio"}],"cache_control":{"ttl":"1h"}}'
    spans = FIELDS.read(body).spans()
    known = read_ask(body, spans, "messages", media=0, sound=False, ttl=False)
    assert (known.media, known.audio, known.cache_long) == (0, False, False)
    looked = read_ask(body, spans, "messages")
    assert (looked.media, looked.audio, looked.cache_long) == (2, True, True)


def test_sound_and_long_caching_are_held_at_their_price_only_when_they_may_be() -> None:
    price = Price("v", "USD", input=1, output=2, cache_write=3, cache_write_long=5, audio_input=40, audio_output=80)
    cases: list[tuple[Api, dict[str, Any], tuple[int, int]]] = [
        ("chat", {"max_tokens": 10}, (3, 2)),
        ("chat", {"max_tokens": 10, "modalities": ["text", "audio"]}, (40, 80)),
        ("chat", {"max_tokens": 10, "messages": ["a\\b", {"type": "input_audio"}]}, (40, 80)),
        ("messages", {"max_tokens": 10, "system": [{"cache_control": {"type": "ephemeral", "ttl": "1h"}}]}, (5, 2)),
    ]
    for api, members, rates in cases:
        reservation = reserve(ask(api, **members), api, Bounds(), Clamp(), price)
        assert reservation.pico == reservation.prompt_most * rates[0] + 10 * rates[1]


@pytest.mark.parametrize(
    ("api", "members", "clamp", "patched"),
    [
        ("chat", {"max_tokens": 500, "x": 1}, Clamp(max_tokens=100), {"max_tokens": 100, "x": 1}),
        ("chat", {"max_tokens": 50}, Clamp(max_tokens=100), {"max_tokens": 50}),
        ("chat", {"x": 1}, Clamp(max_tokens=100), {"max_tokens": 100, "x": 1}),
        ("chat", {"max_tokens": None}, Clamp(max_tokens=100), {"max_tokens": 100}),
        ("chat", {"max_tokens": 1e9}, Clamp(max_tokens=100), {"max_tokens": 100}),
        ("chat", {"max_completion_tokens": 500}, Clamp(max_tokens=100), {"max_completion_tokens": 100}),
        (
            "chat",
            {"max_completion_tokens": 500, "max_tokens": 5},
            Clamp(max_tokens=100),
            {"max_completion_tokens": 100, "max_tokens": 5},
        ),
        ("responses", {"input": "a"}, Clamp(max_tokens=100), {"max_output_tokens": 100, "input": "a"}),
        ("messages", {"max_tokens": 500}, Clamp(max_tokens=100), {"max_tokens": 100}),
        (
            "chat",
            {"max_tokens": 5, "n": 9, "top_logprobs": 20},
            Clamp(n=2, logprobs=5),
            {"max_tokens": 5, "n": 2, "top_logprobs": 5},
        ),
        (
            "completions",
            {"prompt": "a", "max_tokens": 5, "n": 4, "best_of": 9, "logprobs": 9},
            Clamp(best_of=3, logprobs=1),
            {"prompt": "a", "max_tokens": 5, "n": 3, "best_of": 3, "logprobs": 1},
        ),
        (
            "completions",
            {"prompt": "a", "max_tokens": 5, "n": 4},
            Clamp(best_of=3),
            {"prompt": "a", "max_tokens": 5, "n": 4},
        ),
        ("images", {"prompt": "a", "n": 8}, Clamp(n=2), {"prompt": "a", "n": 2}),
        ("embeddings", {"input": "a"}, Clamp(max_tokens=100), {"input": "a"}),
    ],
)
def test_a_clamp_is_patched_into_the_body_and_reserved(
    api: Api, members: dict[str, Any], clamp: Clamp, patched: Any
) -> None:
    body = json.dumps(members).encode()
    spans = FIELDS.read(body).spans()
    reservation = reserve(read_ask(body, spans, api), api, Bounds(max_output=10_000), clamp, PRICE)
    sent = patch_body(body, reservation.patches)
    assert json.loads(sent) == patched
    again = reserve(read_ask(sent, FIELDS.read(sent).spans(), api), api, Bounds(max_output=10_000), clamp, PRICE)
    assert again.answer_most == reservation.answer_most
    assert again.images == reservation.images
    assert not again.patches


def test_a_server_may_call_its_limit_something_else() -> None:
    reservation = held(bounds=Bounds(limit_field="max_completion_tokens"), clamp=Clamp(max_tokens=7))
    assert reservation.patches == (Patch("max_completion_tokens", 7),)


def test_a_patch_leaves_every_other_byte() -> None:
    body = b' { "max_tokens" :  10, "messages":[{"content":"n: 3, \\"n\\": 3"}] , "n":3}'
    patched = patch_body(body, [Patch("n", 1), Patch("max_tokens", 7), Patch("best_of", 2)])
    assert patched == b' {"best_of":2, "max_tokens" :  7, "messages":[{"content":"n: 3, \\"n\\": 3"}] , "n":1}'


def test_pictures_are_held_by_the_piece() -> None:
    price = Price("v", "USD", image=40, request=3)
    reservation = reserve(ask("images", prompt="a", n=4), "images", Bounds(), Clamp(), price)
    assert (reservation.images, reservation.pico) == (4, 163)
    by_token = Price("v", "USD", input=1, output=2)
    reservation = reserve(ask("images", prompt="a", n=4), "images", Bounds(), Clamp(n=3, max_tokens=5), by_token)
    assert (reservation.images, reservation.answer_most) == (3, 3 * MEDIA_MOST)
    assert reservation.pico == reservation.prompt_most + 2 * reservation.answer_most
    assert reservation.patches == (Patch("n", 3),), "their API has no limit on tokens"


def test_without_a_price_nothing_is_held_but_tokens_are_bounded() -> None:
    reservation = reserve(ask(max_tokens=10), "chat", Bounds(), Clamp(), None)
    assert reservation.pico == 0
    assert reservation.worst.answer == 10


RATES = st.integers(0, 10**9)
PARTS = st.one_of(st.none(), RATES)


def prices() -> st.SearchStrategy[Price]:
    flat = st.builds(
        Price, st.just("v"), st.just("USD"), RATES, RATES, PARTS, PARTS, PARTS, RATES, RATES, PARTS, PARTS, PARTS
    )
    tiers = st.lists(st.tuples(st.integers(1, 3_000), flat), max_size=3).map(
        lambda items: sorted(items, key=lambda i: i[0])
    )
    return st.builds(chain, flat, tiers)


def chain(price: Price, tiers: list[tuple[int, Price]]) -> Price:
    for index in range(len(tiers) - 1, -1, -1):
        start, tier = tiers[index]
        following = tiers[index + 1] if index + 1 < len(tiers) else None
        if following is not None:
            tier = msgspec.structs.replace(tier, long_from=following[0], long=tiers[index + 1][1])
        tiers[index] = (start, tier)
    return msgspec.structs.replace(price, long_from=tiers[0][0], long=tiers[0][1]) if tiers else price


ASKS = st.builds(
    Ask, st.integers(1, 4_000), st.one_of(st.none(), st.integers(1, 5_000)), n=st.integers(1, 4),
    prompts=st.integers(1, 3),
    best_of=st.one_of(st.none(), st.integers(1, 6)), media=st.integers(0, 2), audio=st.booleans(),
    cache_long=st.booleans(), remembered=st.booleans(), answers=st.booleans(), images=st.integers(0, 5),
)  # fmt: skip
BOUNDS = st.builds(
    Bounds, st.sampled_from([0, 2_000, 8_000]), st.sampled_from([0, 500]), st.sampled_from([0, 300]), st.just(700)
)
CLAMPS = st.builds(Clamp, *[st.one_of(st.none(), st.integers(1, 900))] * 4)
USAGES = st.builds(Billable, *[st.integers(0, 10_000)] * len(Billable.__struct_fields__))


@given(ASKS, BOUNDS, CLAMPS, prices(), USAGES)
def test_what_is_settled_never_exceeds_what_was_held(
    asked: Ask, bounds: Bounds, clamp: Clamp, price: Price, usage: Billable
) -> None:
    """Whatever the provider says; and word for word when it keeps to the bounds and the request has no dearer part."""
    reservation = reserve(asked, "chat", bounds, clamp, price)
    assert pico_of(price, reservation.worst) == reservation.pico
    settled = settle_usage(Reading(usage), reservation, price, None)
    assert pico_of(price, settled.usage) <= reservation.pico
    assert nano_of(pico_of(price, settled.usage), 123_456) <= nano_of(reservation.pico, 123_456)
    within = (
        usage.prompt <= reservation.prompt_most
        and usage.answer <= reservation.answer_most
        and (asked.audio or usage.audio_input == usage.audio_output == 0)
        and (asked.cache_long or usage.cache_write_long == 0)
    )
    if within:
        kept = msgspec.structs.replace(usage, images=reservation.images)
        assert settled == Settled(kept)


@given(ASKS, BOUNDS, CLAMPS, prices(), st.one_of(st.none(), USAGES), st.booleans(), st.booleans())
def test_what_nobody_said_is_settled_within_what_was_held(
    asked: Ask, bounds: Bounds, clamp: Clamp, price: Price, own: Billable | None, prompt: bool, answer: bool
) -> None:
    reservation = reserve(asked, "chat", bounds, clamp, price)
    reading = Reading(Billable(), prompt_known=prompt, answer_known=answer)
    settled = settle_usage(reading, reservation, price, own)
    assert pico_of(price, settled.usage) <= reservation.pico
    assert settled.estimated == (not (prompt and answer))
    assert prompt or settled.usage.prompt == min(
        reservation.prompt_most if own is None else own.prompt, reservation.prompt_most
    )


@given(st.lists(st.integers(0, 60_000), max_size=6), st.integers(0, 60_000))
def test_asking_for_more_never_holds_less(sizes: list[int], limit: int) -> None:
    picos = [reserve(Ask(size, limit or None), "chat", Bounds(), Clamp(), PRICE).pico for size in sorted(sizes)]
    assert picos == sorted(picos)
