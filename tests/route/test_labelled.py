"""A thousand labelled requests: more than 95 % go where they should, and what does not is listed by its reason."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from backends.dialects import openai
from backends.dialects.gist import Gists
from fastpath.endpoints.paths import find
from fastpath.route.wanted import guess_language, want
from tests.route.labelled import CHINESE, POOL, Labelled, labelled
from tests.route.lineups import World

KNOWN_MISSES = {"Chinese spelt with escapes"}


def wanted_of(one: Labelled, path: str = "/v1/chat/completions") -> Any:
    api = find(path)
    assert api is not None
    gist, members = openai.decode(one.body, api.decode, Gists())
    record = SimpleNamespace(data_class=one.data_class)
    ctx: Any = SimpleNamespace(gist=gist, members=members, path=api, body=one.body, record=record)
    return want(ctx, 300, True)


def test_more_than_95_of_100_go_where_they_should() -> None:
    world = World(*POOL)
    misses: Counter[str] = Counter()
    total = 0
    for one in labelled():
        total += 1
        wanted = wanted_of(one)
        choice = world.decide_for(wanted, one.data_class)
        if choice.endpoint != one.label:
            misses[f"{one.sort}: {choice.endpoint} and not {one.label}"] += 1
    report = "\n".join(f"{count:4} {what}" for what, count in misses.most_common())
    print(f"{total - misses.total()} of {total} requests went where they should\n{report}")
    assert total == 1_000
    assert 1 - misses.total() / total > 0.95, report
    assert {what.partition(":")[0] for what in misses} <= KNOWN_MISSES, report


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("plain words", "en"), (CHINESE, "zh"), ("これは日本語の文章です。", "ja"), ("이것은 한국어입니다", "ko"),
        ("Это русский текст", "ru"), ("هذا نص عربي", "ar"), ("זה טקסט בעברית", "he"), ("นี่คือข้อความ", "th"),
        ("Übermäßig schöne Grüße aus Köln", None), ("", None), ("\\u8bf7", None), ("这是中文。标点「」也在。", "zh"),
    ],
)  # fmt: skip
def test_a_language_is_guessed_by_its_script(text: str, language: str | None) -> None:
    assert guess_language(text.encode()) == language


def test_pictures_do_not_weigh_what_their_bytes_do() -> None:
    picture = next(one for one in labelled() if one.sort == "picture inside")
    assert len(picture.body) > 80_000
    assert 1_000 <= wanted_of(picture).ask.prompt < 1_100


def test_messages_of_the_other_dialect_are_understood() -> None:
    source = b'{"type":"image","source":{"type":"base64","media_type":"image/png","data":"' + b"QUJD" * 9_000 + b'"}}'
    body = b'{"model":"m","max_tokens":50,"messages":[{"role":"user","content":[' + source + b"]}]}"
    wanted = wanted_of(Labelled("", "", body), "/v1/messages")
    assert wanted.wants == 2
    assert wanted.ask.prompt < 1_100
    assert wanted.ask.answer == 50
