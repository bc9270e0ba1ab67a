"""Embeddings: OpenAI's request read, and its answer written. Pure."""

import base64
import struct
from typing import Any

import msgspec
from msgspec import Raw

from backends.dialects.dialect import BadAnswer, Refused

_FIELDS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
#: Fields that ask for nothing here: the gateway adds it to streams, and some clients to everything.
_IGNORED = frozenset({"stream", "stream_options"})


class VectorCall(msgspec.Struct):
    """The request. null is the same as absent."""

    model: str
    input: str | list[str]
    dimensions: int | None = None
    encoding_format: str | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_CALL = msgspec.json.Decoder(VectorCall)


def read_vectors(body: bytes, dialect: str) -> VectorCall:
    """The request in `body`. Raises Refused: for what this dialect cannot embed (tokens), and for unknown fields."""
    try:
        for name, value in _MEMBERS.decode(body).items():
            if name not in _FIELDS and name not in _IGNORED and bytes(value) != b"null":
                raise Refused(f"{name[:100]} has no equivalent in the {dialect} API. Leave it out.", name[:100])
        call = _CALL.decode(body)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        param = place.rstrip("`").replace("[...]", "") or "input"
        raise Refused(f"{param}: {reason}. This API embeds texts, not tokens.", param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("The body is not acceptable JSON.", "") from error
    if not call.texts:
        raise Refused("input must not be empty.", "input")
    if call.encoding_format not in (None, "float", "base64"):
        raise Refused("encoding_format must be float or base64.", "encoding_format")
    return call


def write_vectors(call: VectorCall, vectors: list[list[float]], model: str, prompt_tokens: int | None) -> bytes:
    """OpenAI's list of embeddings. prompt_tokens: None where nobody counted. Raises BadAnswer when some are missing."""
    if len(vectors) != len(call.texts):
        raise BadAnswer(f"{len(vectors)} embeddings for {len(call.texts)} texts")
    shown = [_encode(vector) if call.encoding_format == "base64" else vector for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(shown)]
    tree: dict[str, Any] = {"object": "list", "data": data, "model": model}
    if prompt_tokens is not None:
        tree["usage"] = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return msgspec.json.encode(tree)


def _encode(vector: list[float]) -> str:
    """32-bit floats, little-endian, in base64."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
    except (OverflowError, struct.error) as error:
        raise BadAnswer("an embedding that is no list of 32-bit floats") from error
