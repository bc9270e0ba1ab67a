"""What a whole answer says, for a count of our own where its server gives none. Pure; nothing in it is trusted."""

import msgspec
from msgspec import UNSET, Raw, UnsetType


class _Said(msgspec.Struct):
    content: Raw | UnsetType = UNSET
    tool_calls: Raw | UnsetType = UNSET
    reasoning_content: Raw | UnsetType = UNSET


class _Choice(msgspec.Struct):
    message: _Said | None = None
    text: Raw | UnsetType = UNSET


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    content: Raw | UnsetType = UNSET  # Messages
    output: Raw | UnsetType = UNSET  # Responses


class _Pictures(msgspec.Struct):
    data: list[Raw] = []


_ANSWER = msgspec.json.Decoder(_Answer)
_PICTURES = msgspec.json.Decoder(_Pictures)


def words_of(body: bytes) -> bytes:
    """The words of an answer as JSON spells them, names and numbers around them left out as far as that is easy.

    b"" for what says nothing, such as a list of embeddings.
    """
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
    parts = [answer.content, answer.output]
    for choice in answer.choices:
        parts.append(choice.text)
        if choice.message is not None:
            parts += [choice.message.content, choice.message.tool_calls, choice.message.reasoning_content]
    texts = [bytes(part) for part in parts if part is not UNSET]
    return b"\n".join([text for text in texts if text != b"null"])


def count_pictures(body: bytes) -> int:
    """How many images an answer of the Images API has."""
    try:
        return len(_PICTURES.decode(body).data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
