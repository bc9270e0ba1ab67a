"""Forms as callers send them, and the model whose pictures have a price."""

from typing import Any

import msgspec

from fastpath.settings import Endpoint, Model, ModelClamp, ModelPrice
from loadtest.rig import Bench
from loadtest.rig.bench import make_settings

BOUNDARY = b"----cut-here"
PATH = "/v1/audio/transcriptions"
FILE = (b'form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"RIFF\r\n--\r\n----cut-her\r\n" * 3)
PICTURES = "/v1/images/edits"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
BY_PIECE = ModelPrice(image=0.04)
MODEL = (b'form-data; name="model"', b"llama")


def form(*parts: tuple[bytes, bytes], end: bytes = b"--\r\n") -> bytes:
    lines = [b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (BOUNDARY, head, value) for head, value in parts]
    return b"".join(lines) + b"--" + BOUNDARY + end


def request(body: bytes, path: str = PATH, length: int | None = -1, key: str | None = None) -> bytes:
    """The request with that body; length: what Content-Length says, None for chunked framing of it all."""
    framing = (
        b"transfer-encoding: chunked"
        if length is None
        else b"content-length: %d" % (len(body) if length < 0 else length)
    )
    credential = b"authorization: Bearer %b\r\n" % key.encode() if key else b""
    head = b"POST %b HTTP/1.1\r\nhost: g\r\n%bcontent-type: multipart/form-data; boundary=%b\r\n%b\r\n\r\n"
    return head % (path.encode(), credential, BOUNDARY, framing) + body


def pictures(count: int, **rest: Any) -> bytes:
    """An answer with so many, as it comes over the wire."""
    body = msgspec.json.encode({"data": [{}] * count, **rest})
    return JSON % (len(body), body)


def number(text: bytes) -> tuple[bytes, bytes]:
    return b'form-data; name="n"', text


async def clamped(bench: Bench, url: str, price: ModelPrice = BY_PIECE, **clamp: Any) -> Any:
    endpoint = Endpoint(url=url, tier="L1")
    return await bench.serve(
        make_settings([Model(name="llama", endpoints=(endpoint,), price=price, clamp=ModelClamp(**clamp))])
    )
