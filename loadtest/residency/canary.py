"""A secret that can be recognised in what was sent: plain, escaped, base64 in any alignment, hex, or compressed.

Owns the forms it is written in and found in. Pure.
"""

import base64
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final

SIZE: Final = 32
_GZIP: Final = b"\x1f\x8b\x08"
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_ESCAPE: Final = re.compile(rb"\\u([0-9a-fA-F]{4})")


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


#: Name to how it is written. `escaped` is for JSON that is made by hand.
FORMS: Final[dict[str, Callable[[str], str]]] = {
    "clear": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 inside": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "escaped": _escaped,
}


def find(data: bytes, canary: str) -> set[str]:
    """The forms in which `data` holds the canary."""
    secret, found = canary.encode(), set()
    if secret in data:
        found.add("clear")
    if secret in _ESCAPE.sub(lambda hit: bytes([int(hit[1], 16) & 0xFF]), data):
        found.add("escaped or clear")
    if secret.hex().encode() in data.lower():
        found.add("hex")
    for piece in _decoded(data):
        if secret in piece:
            found.add("base64")
        if any(secret in inner for inner in _unpacked(piece)):
            found.add("gzip")
    if any(secret in inner for inner in _unpacked(data)):
        found.add("gzip")
    return found


def _decoded(data: bytes) -> Iterator[bytes]:
    for hit in _BASE64.finditer(data):
        text = hit[0].rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        for start in range(4):
            piece = text[start:]
            piece = piece[:-1] if len(piece) % 4 == 1 else piece
            yield base64.b64decode(piece + b"=" * (-len(piece) % 4))


def _unpacked(data: bytes) -> Iterator[bytes]:
    place = data.find(_GZIP)
    while place >= 0:
        try:
            yield zlib.decompressobj(wbits=31).decompress(data[place:], 1 << 20)
        except zlib.error:
            pass  # three bytes that only look like it
        place = data.find(_GZIP, place + 1)
