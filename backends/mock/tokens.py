"""The mock's tokens: four bytes of UTF-8 are one token, everywhere.

A text has ceil(bytes / 4) tokens. Generated words take exactly four bytes with their leading space (some hold
characters of two, three and four bytes, so that streams can be cut inside a code point), so the count of a text
equals the number of pieces it was sent in. Pure functions.
"""

import hashlib
import random
from collections.abc import Sequence

TOKEN_BYTES = 4
IMAGE_TOKENS = 85

WORDS: tuple[str, ...] = (
    " the", " sun", " and", " sea", " sky", " oak", " elm", " fox", " owl", " bee", " map", " key", " jar", " cup",
    " tea", " ink", " pen", " box", " hat", " arc", " bay", " cat", " day", " eye", " far", " gem", " hut", " ice",
    " joy", " kit", " low", " mud", " new", " old", " pot", " raw", " sap", " tin", " urn", " van", " wax", " yes",
    " zoo", " né", " dû", " 水", " 山", "🙂",
)  # fmt: skip


def count_tokens(data: bytes) -> int:
    """Tokens of UTF-8 bytes."""
    return -(-len(data) // TOKEN_BYTES)


def compose(seed: bytes, count: int) -> list[str]:
    """`count` pieces of one token each that depend on `seed` alone."""
    if count <= 0:
        return []
    pieces = random.Random(seed).choices(WORDS, k=count)
    pieces[0] = pieces[0].lstrip()
    return pieces


def slice_text(text: str) -> list[str]:
    """ASCII text as pieces of one token each."""
    return [text[at : at + TOKEN_BYTES] for at in range(0, len(text), TOKEN_BYTES)]


def stop_at(pieces: Sequence[str], stops: Sequence[str]) -> tuple[list[str], bool]:
    """The pieces before the first stop string, and whether one was found."""
    text = "".join(pieces)
    ends = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
    if not ends:
        return list(pieces), False
    return _shorten(pieces, min(ends)), True


def _shorten(pieces: Sequence[str], length: int) -> list[str]:
    kept: list[str] = []
    for piece in pieces:
        if length <= 0:
            break
        kept.append(piece[:length])
        length -= len(piece)
    return kept


def image_bytes(reference: bytes) -> bytes:
    """Stand-in of an image in a prompt: IMAGE_TOKENS tokens that depend on its URL or data."""
    digest = hashlib.sha256(reference).hexdigest().encode()
    return (digest * 6)[: IMAGE_TOKENS * TOKEN_BYTES]


def digest(*parts: bytes | int | str) -> bytes:
    """SHA-256 over the parts with their lengths, so that no two lists of parts collide."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.digest()
