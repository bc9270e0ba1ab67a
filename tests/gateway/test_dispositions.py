"""Forms that other parsers read in another way: neither the model nor the number of pictures hides in one."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import MultipartParseError

from fastpath.endpoints.disposition import DispositionError, name_of
from fastpath.endpoints.upload import ModelPart
from loadtest.rig import Bench
from tests.gateway.forms import BOUNDARY, FILE, MODEL, PICTURES, clamped, form, number, request

TWO_READINGS = {
    "an extended name": b"form-data; name*=utf-8''n",
    "a name in parts": b'form-data; name*0="n"',
    "a name in extended parts": b"form-data; name*0*=utf-8''n; name*1=",
    "in capitals": b"form-data; NAME*=utf-8''n",
    "both": b"form-data; name=\"x\"; name*=utf-8''n",
    "two names": b'form-data; name="x"; name="n"',
    "an escape": b'form-data; name="\\n"',
    "an escaped quote": b'form-data; filename="a\\"; name="n"; x="',
    "a quote in the middle": b'form-data; name="x"y; name="n"',
    "spaces around the sign": b'form-data; name = "n"',
    "no end": b'form-data; name="n',
    "another kind": b'attachment; name="n"',
    "no kind": b'name="n"',
    "nothing": b"",
}
PIECES = [b"form-data", b";", b" ", b"name", b"filename", b"*", b"0", b"=", b'"', b"\\", b"n", b"x"]
USUAL = {
    b'form-data; name="model"': b"model",
    b"form-data; name=model": b"model",
    b'form-data;name="model"': b"model",
    b'form-data; name="model";': b"model",
    b' Form-Data ; Name="model" ; filename="a.wav" ': b"model",
    b'form-data; filename="a; name=n.wav"; name="model"': b"model",
    b'form-data; name="model"; filename="a.png"; filename*=UTF-8\'\'a%20b.png': b"model",
    b'form-data; name="model"; filename="C:\\a\\b.png"': b"model",
    b'form-data; name="model"; filename=""': b"model",
    b'form-data; name=""': b"",
    b"form-data": None,
    b'form-data; filename="name"': None,
    'form-data; name="\u00fc"; filename="\u00fc.png"'.encode(): "\u00fc".encode(),
}


@pytest.mark.parametrize(("disposition", "name"), USUAL.items())
def test_what_clients_write_is_read(disposition: bytes, name: bytes | None) -> None:
    assert name_of(disposition) == name


@pytest.mark.parametrize("disposition", TWO_READINGS.values(), ids=list(TWO_READINGS))
def test_what_has_two_readings_is_refused(disposition: bytes) -> None:
    with pytest.raises(DispositionError):
        name_of(disposition)


@given(st.binary(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
def test_anything_else_has_a_name_or_is_refused(disposition: bytes) -> None:
    try:
        name = name_of(disposition)
    except DispositionError:
        return
    assert name is None or name in disposition


def parse(*lines: bytes, value: bytes = b"1") -> ModelPart:
    part = ModelPart(BOUNDARY)
    part.push(form(MODEL)[: -len(b"--\r\n")] + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + value)
    part.push(b"\r\n--" + BOUNDARY + b"--\r\n")
    return part


N = b'Content-Disposition: form-data; name="n"'


def test_the_lines_of_a_part() -> None:
    assert parse(N).count == 1
    for coding in (b"binary", b" 8BIT "):
        assert parse(N, b"Content-Transfer-Encoding: " + coding).count == 1
    assert parse(b"Content-Transfer-Encoding: base64", b'Content-Disposition: form-data; name="x"').count is None
    with pytest.raises(MultipartParseError, match="two dispositions"):
        parse(N, b'content-disposition: form-data; name="x"')
    with pytest.raises(MultipartParseError, match="two dispositions"):
        parse(b'Content-Disposition: form-data; name="x"', N)
    for coded in ((N, b"Content-Transfer-Encoding: quoted-printable"), (b"content-transfer-encoding: base64", N)):
        with pytest.raises(MultipartParseError, match="transfer encoding"):
            parse(*coded)
    for name in (b"N", b"Model", b"MODEL"):
        with pytest.raises(MultipartParseError, match="lower case"):
            parse(b'Content-Disposition: form-data; name="%b"' % name)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 10**9), st.data())
def test_a_number_is_the_same_at_any_cuts(before: int, behind: int, value: int, data: st.DataObject) -> None:
    """However many spaces stand around it: they do not hide what is behind the cut."""
    text = b" " * before + b"%d" % value + b" " * behind
    body = form(MODEL, number(text), FILE)
    start = body.index(text)
    near = st.integers(start - 3, start + len(text) + 3)
    cuts = [0, *sorted(data.draw(st.lists(near, max_size=6))), len(body)]
    part = ModelPart(BOUNDARY)
    for a, b in itertools.pairwise(cuts):
        part.push(body[a:b])
    assert part.count == (value if len(text) < 19 else -1)


@pytest.mark.parametrize("disposition", [b"form-data; name*=utf-8''n", b'form-data; name="x"; name="n"'])
async def test_a_form_with_two_readings_is_refused(bench: Bench, raw: Any, quiet: Any, disposition: bytes) -> None:
    served = await clamped(bench, raw.url, n=2)
    reply = await served.ask(request(form(MODEL, (disposition, b"9"), FILE), PICTURES))
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert "name of a part" in reply.error["message"]
    two = form(MODEL, (b'form-data; name="n"\r\nContent-Disposition: form-data; name="x"', b"9"), FILE)
    reply = await served.ask(request(two, PICTURES))
    assert reply.status == 400
    assert "two dispositions" in reply.error["message"]
    assert raw.requests == []
    await quiet(served).wait()
