"""POST /v1beta/models/{model}:generateContent, :streamGenerateContent, :countTokens, :embedContent,
:batchEmbedContents (the Gemini dialect, under /v1 too): bodies, what they ask of an answer, what is refused.

Fields that the mock does not know are refused, as the real server does. The answer itself is `candidates`.
"""

import re
from typing import Any, TypeVar

import msgspec

from backends.mock.answers.answer import Answer, Fixed, fixed_json, served_model
from backends.mock.answers.candidates import CandidatesAnswer, Thinking
from backends.mock.answers.embeddings import MOST_DIMENSIONS, embed
from backends.mock.answers.prompts import utf8
from backends.mock.draft import Context, Tool, Wish, draft_all, prompt_tokens
from backends.mock.errors import RefusedError
from backends.mock.request import decode_body
from backends.mock.tokens import image_bytes

T = TypeVar("T")
#: What belongs to the caller: nothing in it is a field of the API.
OPAQUE = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "mock"}
)
MOST_CANDIDATES = 8
MOST_STOPS = 5
_GENERATION = re.compile(r"gemini-(\d+)")


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A message of the API: any other field is an error there."""


class Blob(_Strict):
    mime_type: str
    data: str


class FileData(_Strict):
    file_uri: str
    mime_type: str | None = None


class FunctionCall(_Strict):
    name: str
    args: dict[str, Any] = {}
    id: str | None = None


class FunctionResponse(_Strict):
    name: str
    response: dict[str, Any]
    id: str | None = None


class Part(_Strict):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None


class Content(_Strict):
    parts: list[Part]
    role: str | None = None


class ThinkingConfig(_Strict):
    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(_Strict):
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    candidate_count: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    thinking_config: ThinkingConfig | None = None


class FunctionDeclaration(_Strict):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class ToolSpec(_Strict):
    function_declarations: list[FunctionDeclaration] = []


class CallingConfig(_Strict):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class ToolConfig(_Strict):
    function_calling_config: CallingConfig | None = None


class GenerateBody(_Strict):
    """A request; `mock` and `tag` are for the mock itself."""

    contents: list[Content]
    system_instruction: Content | None = None
    generation_config: GenerationConfig | None = None
    tools: list[ToolSpec] | None = None
    tool_config: ToolConfig | None = None
    safety_settings: list[dict[str, Any]] | None = None
    mock: dict[str, Any] | None = None
    tag: str | None = None


class CountBody(_Strict):
    contents: list[Content] = []
    generate_content_request: dict[str, Any] | None = None


class EmbedBody(_Strict):
    content: Content
    model: str | None = None
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: int | None = None
    mock: dict[str, Any] | None = None


class EmbedBatch(_Strict):
    requests: list[EmbedBody]
    mock: dict[str, Any] | None = None


def read_gemini(body: bytes | bytearray, kind: type[T]) -> T:
    """A body as `kind`, its fields in either spelling (inlineData, inline_data). Raises RefusedError (400)."""
    return decode_body(msgspec.json.encode(_camel(decode_body(body, dict[str, Any]))), kind)


def _camel(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_camel(entry) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): value for name, value in tree.items()}
    return {name: value if name in OPAQUE else _camel(value) for name, value in named.items()}


def plan_content(context: Context, name: str, body: GenerateBody, *, streamed: bool) -> Answer:
    """Plans the answer. Raises RefusedError."""
    model = served_model(context, name)
    config = body.generation_config or GenerationConfig()
    _check(body, config)
    _check_signatures(model, body.contents)
    prompt = _prompt(body)
    drafts = draft_all(context, prompt, _wish(body, config))
    return CandidatesAnswer(context, model, prompt, drafts, _thinking(model, config), streamed=streamed)


def plan_token_count(context: Context, name: str, body: CountBody) -> Fixed:
    """Counts the prompt's tokens."""
    served_model(context, name)
    return fixed_json(b"", {"totalTokens": prompt_tokens(b"".join(_render(content) for content in body.contents))})


def plan_embedding(context: Context, name: str, body: EmbedBody) -> Fixed:
    """One vector."""
    served_model(context, name)
    prompt, values = _vector(context, body)
    tree = {"embedding": {"values": values}, "usageMetadata": {"promptTokenCount": prompt_tokens(prompt)}}
    return fixed_json(prompt, tree)


def plan_embedding_batch(context: Context, name: str, body: EmbedBatch) -> Fixed:
    """One vector for each request."""
    served_model(context, name)
    made = [_vector(context, request) for request in body.requests]
    count = sum(prompt_tokens(prompt) for prompt, _ in made)
    tree = {
        "embeddings": [{"values": values} for _, values in made],
        "usageMetadata": {"promptTokenCount": count, "totalTokenCount": count},
    }
    return fixed_json(b"".join(prompt for prompt, _ in made), tree)


def _vector(context: Context, body: EmbedBody) -> tuple[bytes, list[float]]:
    size = body.output_dimensionality or context.options.dimensions
    if not 1 <= size <= MOST_DIMENSIONS:
        raise RefusedError(400, f"output_dimensionality is out of range: {size}")
    prompt = b"".join(_render_part(part) for part in body.content.parts)
    return prompt, embed(prompt, size, context.options.seed).tolist()


def _check(body: GenerateBody, config: GenerationConfig) -> None:
    if not body.contents:
        raise RefusedError(400, "* GenerateContentRequest.contents: contents is not specified")
    for content in body.contents:
        if content.role not in (None, "user", "model"):
            raise RefusedError(400, "Please use a valid role: user, model.")
        if not content.parts:
            raise RefusedError(400, "* GenerateContentRequest.contents.parts: contents.parts must not be empty.")
    if len(config.stop_sequences or ()) > MOST_STOPS:
        raise RefusedError(400, f"At most {MOST_STOPS} stop sequences are supported.")
    if (config.response_schema or config.response_json_schema) and config.response_mime_type != "application/json":
        raise RefusedError(400, "A response schema needs the response mime type application/json.")
    _check_turns(body.contents)


def _check_turns(contents: list[Content]) -> None:
    """Every turn of results has as many as the turn before it has calls."""
    calls = 0
    for content in contents:
        results = sum(part.function_response is not None for part in content.parts)
        if results and results != calls:
            raise RefusedError(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
            )
        calls = sum(part.function_call is not None for part in content.parts)


def _check_signatures(model: str, contents: list[Content]) -> None:
    """From the third generation on, the first call of a turn comes back with the signature it was given."""
    if generation(model) < 3:
        return
    for content in contents:
        first = next((part for part in content.parts if part.function_call is not None), None)
        if first is not None and not first.thought_signature:
            raise RefusedError(400, "Function call is missing a thought_signature in functionCall parts.")


def generation(model: str) -> int:
    """The 3 of `gemini-3-pro`; 0 for names that do not say."""
    found = _GENERATION.match(model)
    return int(found[1]) if found else 0


def _wish(body: GenerateBody, config: GenerationConfig) -> Wish:
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        raise RefusedError(400, "max_output_tokens must be positive")
    count = config.candidate_count or 1
    if not 1 <= count <= MOST_CANDIDATES:
        raise RefusedError(400, f"candidate_count must be in the range [1, {MOST_CANDIDATES}]")
    return Wish(
        limit=config.max_output_tokens,
        stops=tuple(config.stop_sequences or ()),
        schema=_schema(config),
        tools=_called(body),
        seed=config.seed,
        count=count,
    )


def _schema(config: GenerationConfig) -> dict[str, Any] | None:
    if config.response_mime_type != "application/json":
        return None
    if config.response_json_schema is not None:
        return config.response_json_schema
    lowered: dict[str, Any] = _lowered(config.response_schema or {})
    return lowered


def _lowered(schema: Any) -> Any:
    """OpenAPI's upper-case type names as JSON Schema has them."""
    if isinstance(schema, list):
        return [_lowered(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else _lowered(value)
        for name, value in schema.items()
    }


def _called(body: GenerateBody) -> tuple[Tool, ...]:
    """Tools the model calls: with mode ANY the allowed ones (the first two of all when none is named), else the first
    one unless the last turn brings results."""
    tools = tuple(
        Tool(spec.name, spec.parameters_json_schema or _lowered(spec.parameters or {}))
        for tool in body.tools or ()
        for spec in tool.function_declarations
    )
    calling = (body.tool_config or ToolConfig()).function_calling_config or CallingConfig()
    if calling.mode == "NONE":
        return ()
    if calling.mode == "ANY":
        names = calling.allowed_function_names
        return tools[:2] if not names else tuple(tool for tool in tools if tool.name in names)
    after_result = any(part.function_response is not None for part in body.contents[-1].parts)
    return () if after_result else tools[:1]


def _thinking(model: str, config: GenerationConfig) -> Thinking:
    """How much it thinks before it answers: only when asked to."""
    wanted = config.thinking_config
    if wanted is None or wanted.thinking_budget == 0:
        return Thinking(signs=generation(model) >= 3)
    if wanted.thinking_budget is not None and wanted.thinking_level is not None:
        raise RefusedError(400, "You can only set only one of thinking budget and thinking level.")
    return Thinking(tokens=8, shown=bool(wanted.include_thoughts), signs=True)


def _prompt(body: GenerateBody) -> bytes:
    system = b"" if body.system_instruction is None else b"<system>%b\n" % _render(body.system_instruction)
    return system + b"".join(
        b"<%b>%b\n" % (utf8(content.role or "user"), _render(content)) for content in body.contents
    )


def _render(content: Content) -> bytes:
    return b"".join(_render_part(part) for part in content.parts)


def _render_part(part: Part) -> bytes:
    if part.text is not None:
        return utf8(part.text)
    data = msgspec.json.encode(part)
    return image_bytes(data) if part.inline_data is not None or part.file_data is not None else data
