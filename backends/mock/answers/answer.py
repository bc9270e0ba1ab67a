"""What every answer offers to the turn that sends it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from backends.mock.draft import Context, prompt_tokens
from backends.mock.errors import RefusedError, error_body
from backends.mock.sse import SSE, Event

JSON = "application/json"

BROKEN = RefusedError(500, "The model failed in the middle of the answer.", code="engine_failure")


class Answer:
    """An answer that has been planned and not yet rendered; `cached` tokens are known only once it runs."""

    prompt: bytes = b""
    """What the model reads: prefix cache and prices look at it."""

    steps: int = 0
    """Token periods until the answer is complete."""

    tokens: int = 0
    """Generated tokens of all choices."""

    streamed: bool = False
    """Whether the caller asked for events."""

    content_type: str = JSON

    stream_type: str = SSE
    """Content type of its events: server-sent ones, or lines of JSON."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return prompt_tokens(self.prompt)

    @property
    def last_step(self) -> int:
        """The step of the last token."""
        return max(0, self.steps - 1)

    def body(self, cached: int) -> bytes:
        """The whole answer."""
        raise NotImplementedError

    def events(self, cached: int) -> Iterator[Event]:
        """The answer as a stream. An answer that knows no stream gives its body as one event."""
        yield Event(self.body(cached))

    def failure(self) -> Event:
        """The dialect's in-band error."""
        return Event(error_body("", BROKEN))


class Fixed(Answer):
    """An answer whose body does not depend on the cache."""

    def __init__(self, prompt: bytes, body: bytes, content_type: str = JSON, tokens: int = 0) -> None:
        self.prompt = prompt
        self.content_type = content_type
        self.tokens = tokens
        self._body = body

    def body(self, cached: int) -> bytes:
        return self._body


def fixed_json(prompt: bytes, tree: Any) -> Fixed:
    """A Fixed answer of JSON."""
    return Fixed(prompt, msgspec.json.encode(tree))


def served_model(context: Context, name: str | None) -> str:
    """The requested model. Raises RefusedError: 400 when it is missing, 404 when it is not served."""
    if not name:
        raise RefusedError(400, "you must provide a model parameter", param="model", code="missing_required_parameter")
    if name not in context.options.models:
        raise RefusedError(404, f"The model `{name}` does not exist.", param="model", code="model_not_found")
    return name
