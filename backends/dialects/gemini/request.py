"""A chat-completions request as `generateContent` takes it. Pure."""

import re
from typing import Any

import msgspec

from backends.dialects.chat import ChatCall, NamedTool, ToolSpec, read_chat
from backends.dialects.dialect import Refused
from backends.dialects.gemini.contents import make_contents
from backends.dialects.gemini.schema import narrow
from backends.dialects.raw import is_given

NAME = "Gemini"
MOST_STOPS = 5

#: Fields of a chat-completions request that Gemini has a word for.
CARRIED = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
    }
)

#: Thinking budgets, in tokens, of the generation that counts them.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}
_MODEL = re.compile(r"(?:models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._@-]*")
_GENERATION = re.compile(r"(?:models/)?gemini-(\d+)")
_SCHEMA = "response_format.json_schema.schema"


def read_request(body: bytes) -> ChatCall:
    """The caller's request. Raises Refused."""
    call = read_chat(body, CARRIED, NAME)
    if len(call.stops) > MOST_STOPS:
        raise Refused(f"stop: Gemini takes at most {MOST_STOPS}.", "stop")
    return call


def model_path(model: str) -> str:
    """Where a model stands below the base URL. Raises Refused: a name that is no name would be another path."""
    if not _MODEL.fullmatch(model):
        raise Refused("model is not a name that Gemini's URLs can have.", "model")
    return f"/{model}" if "/" in model else f"/models/{model}"


def make_request(call: ChatCall) -> bytes:
    """The body. Raises Refused."""
    system, contents = make_contents(call.messages, signed=_generation(call.model) >= 3)
    tree: dict[str, Any] = {"contents": contents}
    if system:
        tree["systemInstruction"] = {"parts": system}
    if call.tools:
        tree["tools"] = [{"functionDeclarations": [_declare(tool, i) for i, tool in enumerate(call.tools)]}]
    calling = _calling(call)
    if calling is not None:
        tree["toolConfig"] = {"functionCallingConfig": calling}
    config = _config(call)
    if config:
        tree["generationConfig"] = config
    return msgspec.json.encode(tree)


def _config(call: ChatCall) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "maxOutputTokens": call.limit,
        "temperature": call.temperature,
        "topP": call.top_p,
        "topK": call.top_k,
        "stopSequences": call.stops or None,
        "seed": call.seed,
        "presencePenalty": call.presence_penalty,
        "frequencyPenalty": call.frequency_penalty,
        "candidateCount": call.n if call.n is not None and call.n > 1 else None,
        "thinkingConfig": _thinking(call),
        **_format(call),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _format(call: ChatCall) -> dict[str, Any]:
    form = call.response_format
    if form is None or form.type == "text":
        return {}
    asked: dict[str, Any] = {"responseMimeType": "application/json"}
    if form.type == "json_schema":
        described = form.json_schema
        if described is None or not is_given(described.schema):
            raise Refused(f"{_SCHEMA} is missing.", _SCHEMA)
        schema = msgspec.json.decode(described.schema)
        asked["responseJsonSchema"] = narrow(schema, described.strict is True, _SCHEMA)
    return asked


def _thinking(call: ChatCall) -> dict[str, Any] | None:
    """Older generations count thoughts in tokens, newer ones, and names that do not tell, have levels."""
    effort = call.reasoning_effort
    if effort is None:
        return None
    known: dict[str, Any]
    name, known = ("thinkingBudget", _BUDGETS) if 0 < _generation(call.model) < 3 else ("thinkingLevel", _LEVELS)
    if effort not in known:
        offered = ", ".join(known)
        raise Refused(f"reasoning_effort: this Gemini model has {offered}.", "reasoning_effort")
    return {name: known[effort]}


def _generation(model: str) -> int:
    """The 3 of `gemini-3-pro`; 0 for names that do not say."""
    found = _GENERATION.match(model)
    return int(found[1][:6]) if found else 0


def _declare(tool: ToolSpec, index: int) -> dict[str, Any]:
    function = tool.function
    if function is None:
        raise Refused(f"tools[{index}]: Gemini is offered functions only.", f"tools[{index}]")
    declared: dict[str, Any] = {"name": function.name}
    if function.description:
        declared["description"] = function.description
    if is_given(function.parameters):
        parameters = msgspec.json.decode(function.parameters)
        if parameters:
            declared["parametersJsonSchema"] = narrow(parameters, False, f"tools[{index}].function.parameters")
    return declared


def _calling(call: ChatCall) -> dict[str, Any] | None:
    choice = call.tool_choice
    if choice is None or choice == "auto":
        return None
    if choice == "none":
        return {"mode": "NONE"}
    names = [tool.function.name for tool in call.tools or () if tool.function is not None]
    if not names:
        raise Refused("tool_choice needs tools.", "tool_choice")
    if choice == "required":
        return {"mode": "ANY"}
    if not isinstance(choice, NamedTool) or choice.function is None or choice.function.name not in names:
        raise Refused("tool_choice must be auto, none, required or one of the functions in tools.", "tool_choice")
    return {"mode": "ANY", "allowedFunctionNames": [choice.function.name]}
