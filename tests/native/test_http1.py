"""The response parser: its contract by table, its twin as oracle, every cut."""

import importlib.machinery
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _native import http1 as native
from _native.reference import http1 as twin

CORPORA = Path(__file__).parents[1] / "corpora"
OK = b"HTTP/1.1 200 OK\r\n"

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"

PIECES = [
    OK, b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\n\r\n",
    b"Content-Length: 5\r\n", b"content-length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive, x\r\n", b"A: b\r\n", b"\r\n", b"5\r\nhello\r\n", b"0\r\n", b"A;x=1\r\n", b"hello", b"\n",
    b"\r", b"x: y\r\n", b" folded\r\n", b"3\r\nabc\r\n", b"ff", b"\0", b"\xff",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


def read(parts: list[bytes]) -> Any:
    parser = native.ResponseParser()
    body = b""
    try:
        for part in parts:
            body += parser.feed(part)
        parser.eof()
    except native.ProtocolError:
        return "refused"
    if not parser.head_done:
        return "no head yet"
    return (parser.status, parser.headers, body, parser.done, parser.keep_alive, parser.excess)


def expect(data: bytes) -> Any:
    try:
        found = twin.parse(data, eof=True)
    except twin.ProtocolError:
        return "refused"
    if not found.head_done:
        return "no head yet"
    return (found.status, found.headers, found.body, found.done, found.keep_alive, found.excess)


def test_the_kernel_is_compiled() -> None:
    assert native.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))


@pytest.mark.parametrize(
    ("raw", "body", "keep_alive", "excess"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True, 0),
        (OK + b"Content-Length: 5\r\n\r\nhelloHTTP", b"hello", True, 4),
        (OK + b"Content-Length: 0\r\n\r\n", b"", True, 0),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", True, 0),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n00\r\nTrailer: x\r\n\r\n", b"hello", True, 0),
        (OK + b"\r\nuntil the end", b"until the end", False, 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False, 0),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", b"hi", True, 0),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", False, 0),
        (INTERIM + OK + b"Content-Length: 1\r\n\r\nx", b"x", True, 0),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, 0),
    ],
)  # fmt: skip
def test_reads(raw: bytes, body: bytes, keep_alive: bool, excess: int) -> None:
    for step in (len(raw), 1, 2, 3, 7):
        found = read([raw[at : at + step] for at in range(0, len(raw), step)])
        assert found[2:] == (body, True, keep_alive, excess), step


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        OK + b"A : b\r\n\r\n",
        OK + b"A: b\r\n c\r\n\r\n",
        OK + b"A: b\0\r\n\r\n",
        OK + b": b\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
        OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1234567890123456\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 5000 + b"\r\n",
        OK + b"".join(b"X-%d: y\r\n" % i for i in range(129)) + b"\r\n",
        OK + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
    ],
)
def test_refuses(raw: bytes) -> None:
    for step in (len(raw), 1 if len(raw) < 1000 else 1000):
        parts = [raw[at : at + step] for at in range(0, len(raw), step)]
        assert read(parts) == "refused", step


def test_a_large_head_arrives_byte_by_byte() -> None:
    raw = OK + b"".join(b"X-%03d: %b\r\n" % (i, b"y" * 480) for i in range(120)) + b"Content-Length: 0\r\n\r\n"
    found = read([raw[i : i + 1] for i in range(len(raw))])
    assert found == read([raw])
    assert len(found[1]) == 121


def llhttp_rows() -> list[Any]:
    rows = [json.loads(line) for line in (CORPORA / "http-llhttp" / "vectors.jsonl").read_text().splitlines()]
    return [row for row in rows if row["type"] == "response"]


@pytest.mark.parametrize("row", llhttp_rows(), ids=lambda row: row["id"])
def test_llhttp_vectors(row: Any) -> None:
    """What llhttp refuses is refused; what it accepts is read alike by kernel and twin (we may be stricter)."""
    raw = row["raw"].encode("latin-1", "replace")
    whole = read([raw])
    assert whole == expect(raw)
    assert whole == read([raw[i : i + 1] for i in range(len(raw))])
    if row["error"]:
        # Bytes after the message are no error of its own: they are counted, and the connection is not used again.
        assert whole in ("refused", "no head yet") or whole[5] > 0, row["error"]


@settings(max_examples=600)
@given(STREAMS, st.integers(1, 9))
def test_kernel_equals_twin_at_every_cut(stream: bytes, step: int) -> None:
    expected = expect(stream)
    assert read([stream]) == expected
    assert read([stream[at : at + step] for at in range(0, len(stream), step)]) == expected


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_kernel_equals_twin_on_noise(noise: bytes) -> None:
    for raw in (noise, OK + noise, OK + b"Transfer-Encoding: chunked\r\n\r\n" + noise):
        assert read([raw]) == expect(raw)


# -- requests

CHAT = b"POST /v1/chat HTTP/1.1\r\n"
HOST = b"Host: gateway\r\n"
REQUEST_PIECES = [
    CHAT, b"GET / HTTP/1.0\r\n", b"GET http://gateway/x?y HTTP/1.1\r\n", b"GET http://other HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n", b"GET /#f HTTP/1.1\r\n", HOST, b"Expect: 100-Continue\r\n", *PIECES[5:],
]  # fmt: skip
REQUESTS = st.lists(st.sampled_from(REQUEST_PIECES), max_size=12).map(b"".join)
FACTS = ("method", "target", "fields", "repeated", "expects_continue", "done", "keep_alive", "rest")


def read_request(parts: list[bytes]) -> Any:
    parser = native.RequestParser()
    body = b""
    try:
        for part in parts:
            body += parser.feed(part)
    except native.ProtocolError:
        return "refused"
    return [body, *(getattr(parser, name) for name in FACTS)] if parser.head_done else "no head yet"


def expect_request(data: bytes) -> Any:
    try:
        found = twin.parse_request(data)
    except twin.ProtocolError:
        return "refused"
    return [found.body, *(getattr(found, name) for name in FACTS)] if found.head_done else "no head yet"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
        b"GET / http/1.1\r\n" + HOST + b"\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /#x HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT gateway:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        CHAT + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
        CHAT + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHAT + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        CHAT + HOST + b"A : b\r\n\r\n",
        CHAT + HOST + b"A: b\r\n c\r\n\r\n",
    ],
)
def test_requests_refused(raw: bytes) -> None:
    for step in (len(raw), 1):
        assert read_request([raw[at : at + step] for at in range(0, len(raw), step)]) == "refused"


def test_a_request_that_follows_is_kept_for_later() -> None:
    parser = native.RequestParser()
    second = CHAT + HOST + b"Content-Length: 2\r\n\r\nhi"
    assert parser.feed(CHAT + HOST + b"Content-Length: 5\r\nX: 1\r\nx: 2\r\n\r\nhello" + second) == b"hello"
    assert (parser.done, parser.repeated, parser.values(b"x"), parser.rest) == (True, True, [b"1", b"2"], second)
    parser.reset()
    assert parser.feed(second) == b"hi"
    assert (parser.done, parser.repeated, parser.rest) == (True, False, b"")


#: llhttp knows the methods it accepts; here an unknown one is a 405 of the pipeline.
METHODS = {"llhttp-request-invalid-45"}


def request_rows() -> list[Any]:
    rows = [json.loads(line) for line in (CORPORA / "http-llhttp" / "vectors.jsonl").read_text().splitlines()]
    return [row for row in rows if row["type"] == "request"]


@pytest.mark.parametrize("row", request_rows(), ids=lambda row: row["id"])
def test_llhttp_request_vectors(row: Any) -> None:
    """Kernel and twin agree at every cut, and what llhttp refuses is not taken as one whole request."""
    raw = row["raw"].encode("latin-1", "replace")
    whole = read_request([raw])
    assert whole == expect_request(raw)
    assert whole == read_request([raw[i : i + 1] for i in range(len(raw))])
    if row["error"]:
        assert whole in ("refused", "no head yet") or not whole[6] or whole[8] or row["id"] in METHODS, row["error"]


@settings(max_examples=600)
@given(REQUESTS, st.integers(1, 9))
def test_request_kernel_equals_twin_at_every_cut(stream: bytes, step: int) -> None:
    expected = expect_request(stream)
    assert read_request([stream]) == expected
    assert read_request([stream[at : at + step] for at in range(0, len(stream), step)]) == expected


WANTED = (b"accept", b"content-type", b"x-request-id")
#: Kept in any case: HTTP itself reads them.
FRAMING = (b"connection", b"content-length", b"expect", b"host", b"transfer-encoding")
ANY_NAME = st.sampled_from([*WANTED, *FRAMING, b"accepu", b"x-request-ie", b"a", b"content-typ", b"x" * 41])
ANY_VALUE = st.sampled_from([b"1", b"x", b"chunked", b"close", b"", b"a\x01b", b"\xff", b"a very long value\tindeed"])


@given(st.lists(st.tuples(ANY_NAME, ANY_VALUE, st.booleans()), max_size=8))
def test_wanting_few_fields_changes_only_which_are_kept(fields: list[tuple[bytes, bytes, bool]]) -> None:
    lines = [(name.upper() if loud else name) + b": " + value for name, value, loud in fields]
    request = b"\r\n".join([b"POST /v1 HTTP/1.1", b"Host: a", *lines, b"", b""])
    answer = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])
    names = native.FieldNames(WANTED)
    for data, make in ((request, native.RequestParser), (answer, native.ResponseParser)):
        everything, few = parsed(make(), data), parsed(make(names), data)
        assert few[1:] == everything[1:]
        assert few[0] == [(name, value) for name, value in everything[0] if name in (*WANTED, *FRAMING)]


def parsed(parser: Any, data: bytes) -> list[Any]:
    """The fields that a parser kept, and whatever else it made of the data."""
    try:
        parser.feed(data)
    except native.ProtocolError as error:
        return [[], str(error)]
    fields = parser.fields.items() if isinstance(parser, native.RequestParser) else parser.headers
    return [list(fields), parser.head_done, parser.done, parser.keep_alive, parser.length]


@pytest.mark.parametrize("names", [[b""], [b"Accept"], [b"a b"], [b"x" * 41], [b"a%d" % n for n in range(65)]])
def test_names_that_cannot_be_looked_for(names: list[bytes]) -> None:
    with pytest.raises(ValueError):
        native.FieldNames(names)


#: Bytes beside the borders of what names are made of, and of what values may have.
BORDERS = b"\0\x08\t\x1f !'()*+,-./09;<@AZ[\\]^_`az{|}~\x7f\x80\xad\xc1\xe1\xff"


@pytest.mark.parametrize("size", [*range(1, 19), 24, 25, 40, 41])
def test_every_byte_of_a_name_and_of_a_value_is_looked_at(size: int) -> None:
    """Eight at a time, the last eight overlapping those before; whether the name is asked for or not."""
    usual = (b"ab-09z" * 8)[:size]
    known = native.FieldNames([usual[:40]])
    for place in range(size):
        for byte in BORDERS:
            odd = usual[:place] + bytes([byte]) + usual[place + 1 :]
            for line in (odd + b": v", b"x: " + odd):
                data = OK + line + b"\r\ncontent-length: 0\r\n\r\n"
                assert read([data]) == expect(data), line
                everything, few = parsed(native.ResponseParser(), data), parsed(native.ResponseParser(known), data)
                assert few[1:] == everything[1:], line
                kept = (usual[:40], b"content-length")
                assert few[0] == [field for field in everything[0] if field[0] in kept], line


@pytest.mark.parametrize("size", range(1, 41))
def test_a_name_is_found_in_any_letter_case_and_no_other_is(size: int) -> None:
    name = (b"content-type-09~_|" * 3)[:size]
    known = native.FieldNames([name])
    for place in range(size):
        for byte in (name[place] ^ 32, name[place] ^ 1, name[place] ^ 128):
            asked = name[:place] + bytes([byte]) + name[place + 1 :]
            data = OK + asked + b": v\r\ncontent-length: 0\r\n\r\n"
            found = parsed(native.ResponseParser(known), data)
            assert ((name, b"v") in found[0]) == (asked.lower() == name), asked


@pytest.mark.parametrize("count", [1, 62, 63, 64, 65, 66, 126, 127])
def test_a_head_of_many_lines_is_read_as_one_of_few(count: int) -> None:
    data = OK + b"".join(b"x-%d: %d\r\n" % (n, n) for n in range(count)) + b"content-length: 2\r\n\r\nok"
    assert read([data]) == expect(data) == read([data[:-40], data[-40:]])
    assert len(read([data])[1]) == count + 1


@given(length=st.integers(min_value=-1, max_value=2**63 - 1), body=st.none() | st.binary(max_size=64))
def test_a_request_is_written_in_one_piece(length: int, body: bytes | None) -> None:
    parts = b"POST / HTTP/1.1\r\nhost: a\r\n", b"accept: */*\r\n", length, body
    assert native.write_request(*parts) == twin.write_request(*parts)
    if length >= 0:
        assert native.length_field(length) == twin.length_field(length)


def test_no_body_has_less_than_nothing() -> None:
    for module in (native, twin):
        with pytest.raises(ValueError, match="not a size: -1"):
            module.length_field(-1)


@given(
    fields=st.dictionaries(st.sampled_from([b"a", b"bc", b"d"]), st.binary(max_size=9)),
    names=st.lists(st.sampled_from([b"a", b"bc", b"x"]), max_size=4),
)
def test_named_fields_are_written_as_lines(fields: dict[bytes, bytes], names: list[bytes]) -> None:
    parts = b"id", b"1", fields, tuple(names)
    assert native.write_fields(*parts) == twin.write_fields(*parts)


def test_fields_that_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="at most 64 names"):
        native.write_fields(b"id", b"1", {}, (b"a",) * 65)
    with pytest.raises(TypeError, match="bytes"):
        native.write_fields(b"id", b"1", {b"a": "text"}, (b"a",))  # type: ignore[dict-item]  # what is refused


#: Lines of heads that follow each other on one connection: most stand again where they stood before.
START_LINES = [b"POST /v1 HTTP/1.1", b"GET http://a/x?y HTTP/1.1", b"GET /x HTTP/1.0", b"POST /v1 HTTP/1.1 "]
STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Continue", b"HTTP/1.1 204 No", b"HTTP/2 200 OK"]
LINES = [
    b"Host: a", b"host: b", b"Content-Length: 2", b"Content-Length: 3", b"content-length: 02", b"Connection: close",
    b"Connection: keep-alive", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"X-Request-ID: 1",
    b"X-Request-ID: 22", b"Accept: a\tb", b"Accept: a\x01b", b"Other: 1", b"Othe\r: 1", b" folded", b"", b"no colon",
]  # fmt: skip
HEADS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from(LINES)), max_size=2),
        st.sampled_from([b"hi", b"hey", b"", b"2\r\nhi\r\n0\r\n\r\n"]),
        st.integers(1, 60),
    ),
    max_size=5,
)


def heads_that_differ_little(changes: Any, starts: list[bytes]) -> Any:
    """Messages of one connection, each with a few lines of the one before replaced, and where it is cut."""
    lines = [starts[0], b"Host: a", b"Accept: x", b"Other: 1", b"Content-Length: 2", b"X-Request-ID: 1"]
    for start, replaced, body, cut in changes:
        lines = [starts[start % len(starts)], *lines[1:]]
        for at, line in replaced:
            lines[at:] = [line, *lines[at + 1 :]] if at else lines
        yield b"\r\n".join([*lines, b"", b""]) + body, cut


@settings(max_examples=600)
@given(HEADS, st.booleans())
def test_what_a_head_says_does_not_depend_on_the_one_before(changes: Any, cuts: bool) -> None:
    used = native.RequestParser()
    for data, cut in heads_that_differ_little(changes, START_LINES):
        parts = [data[:cut], data[cut:]] if cuts and cut < len(data) else [data]
        expected = expect_request(data)
        try:
            body = b"".join([used.feed(part) for part in parts])
        except native.ProtocolError:
            assert expected == "refused"
            used = native.RequestParser()
            continue
        found = [body, *(getattr(used, name) for name in FACTS)] if used.head_done else "no head yet"
        assert found == expected
        if used.head_done:
            assert used.values(b"x-request-id") == read_again(data).values(b"x-request-id")
        if not used.done:
            used = native.RequestParser()
        used.reset()


def read_again(data: bytes) -> Any:
    parser = native.RequestParser()
    parser.feed(data)
    return parser


@settings(max_examples=600)
@given(HEADS, st.booleans())
def test_nor_does_what_an_answer_says(changes: Any, cuts: bool) -> None:
    used, kept = native.ResponseParser(native.FieldNames(WANTED)), list[Any]()
    for data, cut in heads_that_differ_little(changes, STATUS_LINES):
        parts = [data[:cut], data[cut:]] if cuts and cut < len(data) else [data]
        fresh = native.ResponseParser(native.FieldNames(WANTED))
        expected = answered(fresh, parts)
        assert answered(used, parts) == expected
        kept.append((used.headers, list(fresh.headers)))
        if expected == "refused" or not fresh.done:
            used = native.ResponseParser(native.FieldNames(WANTED))
        used.reset()
    assert all(headers == as_they_were for headers, as_they_were in kept)


def answered(parser: Any, parts: list[bytes]) -> Any:
    try:
        body = b"".join([parser.feed(part) for part in parts])
    except native.ProtocolError:
        return "refused"
    if not parser.head_done:
        return "no head yet"
    return parser.status, parser.headers, body, (parser.done, parser.keep_alive, parser.length, parser.excess)
