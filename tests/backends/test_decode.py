"""Decision fields of request bodies: their types, what is refused and under which name, and the two patches."""

import contextlib
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.dialects import openai
from backends.dialects.gist import Gist, Gists
from backends.dialects.openai import BadRequest, ask_usage, rename_model, splice

CHAT = msgspec.json.Decoder(openai.ChatRequest).decode
ANY = msgspec.json.Decoder(openai.Decision).decode
HELLO = [{"role": "user", "content": "hello"}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
LOCAL = {"type": "image_url", "image_url": {"url": "file:///etc"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}


def decode(body: bytes, read: Any, gists: Gists | None = None) -> tuple[Gist, Any]:
    return openai.decode(body, read, gists or Gists())


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": HELLO} | fields).encode()


def refused(body: bytes, decoder: Any = CHAT) -> BadRequest:
    with pytest.raises(BadRequest) as found:
        decode(body, decoder)
    return found.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": "7"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"store": "true"}, "store"),
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 513}, "model"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 129}, "n"),
        ({"seed": 1 << 63}, "seed"),
        ({"presence_penalty": "a"}, "presence_penalty"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [*HELLO, {"role": "user", "content": 7}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [LOCAL]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [IMAGE | {"image_url": {}}]}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls"),
    ],
)  # fmt: skip
def test_a_wrong_type_names_its_field(fields: dict[str, Any], param: str) -> None:
    error = refused(chat(**fields))
    assert error.param == param
    assert param.partition("[")[0].partition(".")[0] in str(error)


@pytest.mark.parametrize("field", ["model", "messages"])
def test_a_missing_field_is_named(field: str) -> None:
    body = json.loads(chat())
    del body[field]
    assert refused(json.dumps(body).encode()).param == field


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": [IMAGE | {"image_url": "data:image/png;base64,AA"}]}]},
        {"messages": [{"role": "user", "content": [AUDIO]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]}, *HELLO]},
        {"messages": [{"role": "assistant", "content": None, "refusal": "no"}, *HELLO]},
        {"max_tokens": None, "stream": None, "stream_options": None, "seed": -1, "temperature": 0},
        {"unknown": {"Model": [1, {"model": 2}]}, "tools": [], "temperature": 2},
    ],
)  # fmt: skip
def test_what_is_taken(fields: dict[str, Any]) -> None:
    gist, members = decode(chat(**fields), CHAT)
    assert gist.model == "m"
    assert set(members.spans()) >= {"model", "messages"}


@pytest.mark.parametrize("field", sorted(["model", "messages", "stream", "max_tokens", "store", "tools", "prompt"]))
@pytest.mark.parametrize("spell", [str, str.upper, str.title, lambda name: f"\\u{ord(name[0]):04x}{name[1:]}"])
def test_a_field_twice_in_any_spelling(field: str, spell: Any) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],'
    first = b"" if field in ("model", "messages") else b'"%b":null,' % field.encode()
    error = refused(body + first + b'"%b":null}' % spell(field).encode(), CHAT if first else ANY)
    assert error.param == field


@pytest.mark.parametrize("name", ["model", "stream", "messages", "stream_options", "n"])
@pytest.mark.parametrize("spell", [str.upper, lambda name: f"\\u{ord(name[0]):04x}{name[1:]}"])
def test_a_field_in_another_spelling(name: str, spell: Any) -> None:
    body = chat(stream=True, stream_options=None, n=1)
    assert refused(body.replace(f'"{name}"'.encode(), f'"{spell(name)}"'.encode())).param == name


@pytest.mark.parametrize(
    ("body", "position"),
    [(b"", 0), (b"[]", 0), (b"null", 0), (b'{"model":"m"', 12), (b'{"model":"m"}x', 13), (b'{"model":"\xff"}', 10),
     (b'{"model":"\xed\xa0\x80"}', 10), (b'\xef\xbb\xbf{"model":"m"}', 0), (b'{"model":"m",}', 13), (b'{"a":NaN}', 5),
     (b'{"a":' + b"[" * 200, 132), (b"{'model':1}", 1)],
)  # fmt: skip
def test_no_json(body: bytes, position: int) -> None:
    error = refused(body, ANY)
    assert f"at byte {position}" in str(error)
    assert error.param == ""


def test_depth() -> None:
    deep = b'{"model":"m","a":%b}'
    decode(deep % (b"[" * 127 + b"]" * 127), ANY)
    assert "deeper than 128" in str(refused(deep % (b"[" * 128 + b"]" * 128), ANY))


@given(st.binary(max_size=300))
def test_rubbish_never_gets_further(data: bytes) -> None:
    for body in (data, b'{"model":"m","messages":' + data, b'{"model":"m","messages":[{"role":"u","content":' + data):
        with contextlib.suppress(BadRequest):
            decode(body, CHAT)


texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts, lambda inner: st.lists(inner, max_size=3) |
    st.dictionaries(texts, inner, max_size=3), max_leaves=8,
)  # fmt: skip
DECISIVE = {"model", "messages", "stream", "stream_options", "store", "max_tokens", "max_completion_tokens", "n",
            "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "top_logprobs", "prompt", "input",
            "max_output_tokens", "best_of", "logprobs", "conversation",
            "dimensions", "tools", "user", "service_tier", "previous_response_id"}  # fmt: skip
extras = st.dictionaries(texts.filter(lambda name: name.casefold() not in DECISIVE), values, max_size=4)
space = st.sampled_from(["", " ", "\n\t"])


ABSENT = st.just(...)


@st.composite
def bodies(draw: st.DrawFn, options: st.SearchStrategy[Any] = ABSENT) -> bytes:
    """Chat bodies with any further fields, in any order, layout and escaping."""
    fields: dict[str, Any] = {"model": draw(st.text(min_size=1, max_size=20)), "messages": HELLO, "stream": True}
    fields |= {} if (chosen := draw(options)) is ... else {"stream_options": chosen}
    members = draw(st.permutations(list((fields | draw(extras)).items())))
    ascii_only, gap = draw(st.booleans()), draw(space)
    text = json.dumps(dict(members), ensure_ascii=ascii_only, separators=(f",{gap}", f"{gap}:{gap}"))
    return (gap + text + gap).encode("utf-8", "replace")


@given(bodies(), st.text(min_size=1, max_size=50))
def test_renaming_changes_the_name_and_nothing_else(body: bytes, name: str) -> None:
    _, members = decode(body, CHAT)
    start, end = members.spans()["model"]
    renamed = splice(body, [rename_model(members, name)])
    assert renamed[:start] == body[:start]
    assert renamed[len(renamed) - (len(body) - end) :] == body[end:]
    assert json.loads(renamed) == json.loads(body) | {"model": name}
    assert decode(renamed, CHAT)[0].model == name


@given(bodies(st.just(...) | st.none() | st.dictionaries(texts, values, max_size=3).map(
    lambda options: options | {"include_usage": False}) | st.just({"include_usage": True})))  # fmt: skip
def test_asking_for_usage_changes_its_option_and_nothing_else(body: bytes) -> None:
    members = openai.FIELDS.read(body)
    asked = splice(body, [ask_usage(members)])
    before, after = json.loads(body), json.loads(asked)
    assert after == before | {"stream_options": (before.get("stream_options") or {}) | {"include_usage": True}}
    span = members.span("stream_options")
    if span is None:
        at = body.index(b"{") + 1
        assert (asked[:at], asked[len(asked) - len(body) + at :]) == (body[:at], body[at:])
    else:
        assert asked[: span[0]] == body[: span[0]]
        assert asked[len(asked) - len(body) + span[1] :] == body[span[1] :]


def test_both_patches() -> None:
    body = b'{ "stream_options" : {"x": 1.50} , "model" :"m", "n": 1}'
    _, members = decode(body, ANY)
    patched = splice(body, [rename_model(members, 'a"b'), ask_usage(members)])
    assert patched == b'{ "stream_options" : {"x":1.50,"include_usage":true} , "model" :"a\\"b", "n": 1}'


def facts(gist: Gist) -> Any:
    names = ("model", "stream", "stores", "wants_usage", "answer_most", "answers", "plain_is_sound")
    return [getattr(gist, name) for name in names], gist.decision


SMALL = st.dictionaries(
    st.sampled_from(["model", "stream", "stream_options", "store", "max_tokens", "max_completion_tokens", "n", "user"]),
    st.sampled_from(["m", "other", True, None, 1, 7, {"include_usage": True}, {}, "u" * 600]),
    max_size=4,
)
SCHEMAS = [
    msgspec.json.Decoder(schema).decode
    for schema in (openai.ChatRequest, openai.CompletionRequest, openai.MessagesRequest, openai.Decision)
]


@given(st.lists(st.tuples(SMALL, st.sampled_from(SCHEMAS)), max_size=12))
def test_what_a_body_says_does_not_depend_on_those_before(asked: list[tuple[dict[str, Any], Any]]) -> None:
    gists = Gists()
    for fields, read in asked:
        body = json.dumps({"model": "m", "messages": HELLO, "prompt": "x"} | fields).encode()
        try:
            alone = decode(body, read)[0]
        except BadRequest as error:
            with pytest.raises(BadRequest, match=re.escape(str(error))):
                decode(body, read, gists)
            continue
        assert facts(decode(body, read, gists)[0]) == facts(alone)
        assert facts(decode(body, read, gists)[0]) == facts(alone)


def test_bodies_whose_small_fields_are_the_same_share_their_gist() -> None:
    gists = Gists()
    one, two = chat(n=2, max_tokens=7), chat(n=2, max_tokens=7, messages=[*HELLO, *HELLO], unknown=1)
    gist = decode(one, CHAT, gists)[0]
    assert decode(two, CHAT, gists)[0] is gist
    assert (gist.answer_most, gist.answers) == (7, 2)
    assert decode(one, ANY, gists)[0] is not gist
    assert decode(chat(n=3, max_tokens=7), CHAT, gists)[0].answers == 3


def test_the_bulk_is_checked_each_time() -> None:
    gists = Gists()
    decode(chat(), CHAT, gists)
    with pytest.raises(BadRequest, match="content"):
        decode(chat(messages=[{"role": "user"}]), CHAT, gists)


def test_many_and_long_bodies_are_not_kept() -> None:
    gists = Gists()
    long = chat(user="u" * 600)
    assert decode(long, CHAT, gists)[0] is not decode(long, CHAT, gists)[0]
    met = [decode(chat(seed=seed), CHAT, gists)[0] for seed in range(2_000)]
    again = [decode(chat(seed=seed), CHAT, gists)[0] for seed in reversed(range(2_000))]
    assert 0 < sum(one is other for one, other in zip(met, reversed(again), strict=True)) <= 256
