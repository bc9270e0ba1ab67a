"""The fields of an OpenAI-dialect request that decisions need, their types and bounds.

Owns: which fields are decision fields, how a bad one is reported, and the edits a body may need (model name, usage
request, numbers that a clamp lowers). Everything else in a body is never looked at and reaches the model server byte by
byte.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from _native.answers import is_plain
from _native.jsonscan import DuplicateField, Fields, JsonError, Members, MisspeltField, first_byte
from backends.dialects.gist import Gist, Gists

INT64 = 2**63 - 1
STRING, LIST, NULL = b'"[n'
Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]
Count = Annotated[int, Meta(ge=1, le=128)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class BadRequest(ValueError):
    """The body is not what the path takes. param: the offending field, "" when it is the whole body."""

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.param = param


class StreamOptions(Struct):
    include_usage: bool | None = None


class FunctionCall(Struct):
    name: str
    arguments: str = ""


class ToolCall(Struct):
    id: str
    type: str = "function"
    function: FunctionCall | UnsetType = UNSET
    custom: Raw | UnsetType = UNSET


class ImageUrl(Struct):
    url: str


class Part(Struct):
    type: str
    image_url: ImageUrl | str | UnsetType = UNSET


class Message(Struct):
    role: str
    content: Raw | UnsetType = UNSET
    tool_calls: list[ToolCall] | None = None
    function_call: Raw | UnsetType = UNSET
    refusal: Raw | UnsetType = UNSET
    audio: Raw | UnsetType = UNSET


class Decision(Struct):
    """What a decision needs of any request, beside its bulk. The subclasses add what one API path requires."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    plain_is_sound: ClassVar[bool] = False  # `check` has nothing to say of a dialogue of texts alone

    def check(self, members: Members) -> None:
        """Raises BadRequest for what these types cannot say: the bulk, above all."""

    def answer_most(self) -> int:
        """Tokens that the caller allows one answer; 0 when it does not say."""
        return 0

    def answers(self) -> int:
        """How many answers it asks for."""
        return 1


class Sampling(Decision):
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-INT64, le=INT64)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None

    def answer_most(self) -> int:
        return max(self.max_completion_tokens or 0, self.max_tokens or 0)  # servers differ about which one counts

    def answers(self) -> int:
        return self.n or 1


class ChatRequest(Sampling):
    top_logprobs: Annotated[int, Meta(ge=0, le=128)] | None = None
    plain_is_sound: ClassVar[bool] = True

    def check(self, members: Members) -> None:
        if members.plain:  # nearly all are just speakers and texts, which the scanner has seen
            return
        for i, message in enumerate(_bulk(members, "messages", _MESSAGES)):
            _check_message(message, f"messages[{i}]")


class CompletionRequest(Sampling):
    best_of: Count | None = None

    def check(self, members: Members) -> None:
        _check_text_or_list(members, "prompt")


class EmbeddingRequest(Decision):
    dimensions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None

    def check(self, members: Members) -> None:
        _check_text_or_list(members, "input")


class MessagesRequest(Decision):
    max_tokens: Tokens | None = None
    plain_is_sound: ClassVar[bool] = True

    def answer_most(self) -> int:
        return self.max_tokens or 0

    def check(self, members: Members) -> None:
        if not members.plain:
            _bulk(members, "messages", _ANY_MESSAGES)


_MESSAGES = msgspec.json.Decoder(Annotated[list[Message], Meta(min_length=1)])
_ANY_MESSAGES = msgspec.json.Decoder(Annotated[list[Raw], Meta(min_length=1)])


#: Names that must not appear twice, under any spelling: two servers could read two different requests.
FIELDS = Fields(
    (
        "model",
        "messages",
        "prompt",
        "input",
        "stream",
        "stream_options",
        "store",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "best_of",
        "temperature",
        "top_p",
        "seed",
        "tools",
        "user",
        "service_tier",
        "previous_response_id",
        "presence_penalty",
        "frequency_penalty",
        "top_logprobs",
        "dimensions",
        "logprobs",
        "conversation",
    ),
    bulky=("messages", "prompt", "input", "tools"),
    dialogue="messages",
)

#: A span of a body and what stands there instead.
Edit = tuple[int, int, bytes]


def decode(body: bytes, read: Callable[[bytes], Decision], gists: Gists) -> tuple[Gist, Members]:
    """The decision fields of a body, and where they are. read: decodes its schema. Raises BadRequest.

    The body is scanned once; only its small fields are decoded, so that a long prompt is not read twice.
    """
    fields = FIELDS
    try:
        members = fields.read(body)
        gist = gists.read(members.small(), read)
    except JsonError as error:
        raise BadRequest(f"The body is not acceptable JSON: {error.reason} at byte {error.position}.") from error
    except DuplicateField as error:
        message = f"{error.name!r} appears twice (at byte {error.position}), in some spelling. Send it once."
        raise BadRequest(message, error.name) from error
    except MisspeltField as error:
        message = f"Write {error.name!r} (at byte {error.position}) in small letters and without escapes."
        raise BadRequest(message, error.name) from error
    except msgspec.ValidationError as error:
        raise _explain(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The body is not acceptable JSON: {error}.") from error
    if not gist.plain_is_sound or not is_plain(members):
        gist.decision.check(members)
    return gist, members


def rename_model(members: Members, name: str) -> Edit:
    """Another model name, every other byte as it was."""
    span = members.span("model")
    assert span is not None  # no body without one is decoded
    return *span, msgspec.json.encode(name)


def ask_usage(members: Members) -> Edit:
    """`stream_options.include_usage` true, every other byte as it was."""
    span = members.span("stream_options")
    if span is None:
        return members.opening, members.opening, b'"stream_options":{"include_usage":true},'
    options = msgspec.json.decode(members.text("stream_options") or b"", type=dict[str, Raw] | None) or {}
    options["include_usage"] = Raw(b"true")
    return span[0], span[1], msgspec.json.encode(options)


def set_number(members: Members, name: str, value: int) -> Edit:
    """Another whole number for a field, which is added where the body has none."""
    span = members.span(name)
    if span is None:
        return members.opening, members.opening, b'"%b":%d,' % (name.encode(), value)
    return *span, b"%d" % value


def splice(body: bytes, edits: list[Edit]) -> bytes:
    """The body with its edits made; they do not overlap."""
    pieces, at = [], 0
    for start, end, text in sorted(edits):
        pieces += [body[at:start], text]
        at = end
    return b"".join([*pieces, body[at:]])


def _bulk(members: Members, name: str, decoder: "msgspec.json.Decoder[Any]") -> Any:
    """The value of a bulky field that is required. Raises BadRequest."""
    text = members.text(name)
    if text is None:
        raise BadRequest(f"{name}: Object missing required field `{name}`.", name)
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(error, name) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{name} is not acceptable JSON: {error}.", name) from error


def _check_text_or_list(members: Members, name: str) -> None:
    first = members.first(name)
    if first < 0:
        raise BadRequest(f"{name}: Object missing required field `{name}`.", name)
    if first not in (STRING, LIST):
        raise BadRequest(f"{name} must be a string or an array", name)


def _check_message(message: Message, where: str) -> None:
    content = message.content
    if content is UNSET:
        if message.role != "assistant" or not _says_otherwise(message):
            raise BadRequest(f"{where} needs content", f"{where}.content")
    elif first_byte(content) == LIST:
        _check_parts(content, where)
    elif first_byte(content) not in (STRING, NULL):
        raise BadRequest(f"{where}.content must be a string or an array of parts", f"{where}.content")
    if message.tool_calls:
        _check_tool_calls(message.tool_calls, where)


def _says_otherwise(message: Message) -> bool:
    """Whether a message without content says something all the same."""
    others = (message.function_call, message.refusal, message.audio)
    return bool(message.tool_calls) or any(part is not UNSET for part in others)


def _check_tool_calls(calls: list[ToolCall], where: str) -> None:
    for call in calls:
        if call.function is UNSET and call.custom is UNSET:
            raise BadRequest(f"{where}.tool_calls needs a function", f"{where}.tool_calls")


def _check_parts(content: Raw, where: str) -> None:
    try:
        parts = msgspec.json.decode(content, type=list[Part])
    except msgspec.ValidationError as error:
        raise BadRequest(f"{where}.content: {error}", f"{where}.content") from error
    for part in parts:
        if part.image_url is UNSET:
            continue
        url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
        if not url[:8].lower().startswith(("http://", "https://", "data:")):
            raise BadRequest(f"{where}.content: an image_url must be http, https or data", f"{where}.content")


def _explain(error: msgspec.ValidationError, inside: str = "") -> BadRequest:
    """msgspec says "Expected `int`, got `str` - at `$.max_tokens`"; callers want the field as param."""
    text = str(error)
    reason, _, place = text.partition(" - at `$")
    param = (inside + place.rstrip("`")).lstrip(".").replace("[...]", "")
    if "missing required field" in reason:
        missing = reason.rsplit("`", 2)[-2]
        param = f"{param}.{missing}" if param else missing
    return BadRequest(f"{param or 'The body'}: {reason}.", param)
