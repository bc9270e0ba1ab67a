"""POST /v1/embeddings: unit vectors that depend on the text alone."""

import base64
import hashlib
import math
import sys
from array import array
from typing import Any, Literal

import msgspec

from backends.mock.answers.answer import Fixed, served_model
from backends.mock.answers.completions import Prompts, prompt_list
from backends.mock.draft import Context, prompt_tokens
from backends.mock.errors import RefusedError
from backends.mock.usage import put_usage

MOST_DIMENSIONS = 65_536


class EmbeddingBody(msgspec.Struct):
    """The fields the mock looks at; others are accepted."""

    input: Prompts
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


def plan_embeddings(context: Context, body: EmbeddingBody) -> Fixed:
    """The vectors. Raises RefusedError."""
    model = served_model(context, body.model)
    texts = prompt_list(body.input)
    size = body.dimensions or context.options.dimensions
    if not texts or not 1 <= size <= MOST_DIMENSIONS:
        raise RefusedError(400, "input must not be empty and dimensions be at most 65536", param="input")
    vectors = [_shown(embed(text, size, context.options.seed), body.encoding_format) for text in texts]
    data = [{"object": "embedding", "index": index, "embedding": shown} for index, shown in enumerate(vectors)]
    tree: dict[str, Any] = {"object": "list", "data": data, "model": context.shown_model(model)}
    count = sum(prompt_tokens(text) for text in texts)
    put_usage(tree, {"prompt_tokens": count, "total_tokens": count}, context.fault.usage)
    return Fixed(b"".join(texts), msgspec.json.encode(tree))


def embed(text: bytes, size: int, seed: int) -> "array[float]":
    """Unit vector of `size` 32-bit floats."""
    noise = array("i")
    noise.frombytes(hashlib.shake_128(b"%d:%b" % (seed, text)).digest(size * noise.itemsize))
    norm = math.sqrt(sum(value * value for value in noise)) or 1.0
    return array("f", [value / norm for value in noise])


def _shown(vector: "array[float]", encoding: str | None) -> list[float] | str:
    if encoding != "base64":
        return vector.tolist()
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
