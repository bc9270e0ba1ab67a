"""Embeddings of Gemini's: many texts in one `batchEmbedContents`. Pure."""

import msgspec

from backends.dialects.dialect import BadAnswer
from backends.dialects.vectors import VectorCall, write_vectors


class _Vector(msgspec.Struct):
    values: list[float]


class _Counts(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector]
    usage_metadata: _Counts | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def make_embeddings(call: VectorCall, path: str) -> bytes:
    """The body. path: the model's, as in the URL."""
    asked = {"model": path.lstrip("/")} | ({"outputDimensionality": call.dimensions} if call.dimensions else {})
    return msgspec.json.encode({"requests": [{**asked, "content": {"parts": [{"text": text}]}} for text in call.texts]})


def retell_embeddings(body: bytes, call: VectorCall) -> bytes:
    """OpenAI's list. Raises BadAnswer."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"not embeddings of Gemini's: {error}") from error
    counts = answer.usage_metadata
    vectors = [each.values for each in answer.embeddings]
    return write_vectors(call, vectors, call.model, counts.prompt_token_count if counts is not None else None)
