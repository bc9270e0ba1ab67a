"""Golden exchanges: an OpenAI request, what a provider is sent for it, what it says, and what the caller is told.

One JSON file per case in `golden/DIALECT/`. `answer` is a whole answer; `events` are those of a stream, in
the provider's framing, and `told` its chunks. Strategies for streams cut anywhere and for bytes that nobody honest
sends.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from backends.dialects.dialect import BadAnswer, StreamTranslator, Translation

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    request: Any
    path: str
    sent: Any
    answer: Any
    events: Any
    told: Any
    framing: str

    @property
    def streamed(self) -> bool:
        return self.events is not None

    @property
    def upstream(self) -> bytes:
        """The stream's bytes."""
        texts = [json.dumps(event, ensure_ascii=False).encode() for event in self.events]
        if self.framing == "lines":
            return b"".join(text + b"\n" for text in texts)
        return b"".join(b"data: " + text + b"\r\n\r\n" for text in texts)


def cases(dialect: str) -> list[Case]:
    """The cases of a dialect, by name."""
    found = []
    for path in sorted((FOLDER / dialect).glob("*.json")):
        tree = json.loads(path.read_text())
        fields = {name: tree.get(name) for name in ("request", "path", "sent", "answer", "events", "told")}
        framing = "lines" if dialect == "ollama" else "events"
        found.append(Case(path.stem, **fields, framing=framing))
    return found


def golden(case: Case, begin: Callable[[Any], Translation]) -> None:
    """Both ways of a case."""
    translation = begin(case.request)
    assert translation.call.path == case.path
    assert json.loads(translation.call.body or b"") == case.sent
    if case.streamed:
        told, complete = play(translation.stream(), case.upstream, [])
        assert complete
        assert told.endswith(b"data: [DONE]\n\n")
        events = [json.loads(event.removeprefix(b"data: ")) for event in told.split(b"\n\n")[:-2]]
        assert events == case.told
    else:
        assert json.loads(translation.answer(json.dumps(case.answer).encode())) == case.told


def play(stream: StreamTranslator, body: bytes, at: list[int]) -> tuple[bytes, bool]:
    """What a stream gives for a body cut at these places (thousandths of its length), and whether it was complete."""
    places = sorted({part * len(body) // 1000 for part in at} | {0, len(body)})
    told = b""
    try:
        for start, end in pairwise(places):
            told += stream.feed(body[start:end])
        told += stream.end()
    except BadAnswer as error:
        return told + error.told, False
    return told, stream.complete


def cuts() -> st.SearchStrategy[list[int]]:
    """Places to cut a body at."""
    return st.lists(st.integers(1, 999), max_size=40)


def hostile() -> st.SearchStrategy[bytes]:
    """JSON of the shape of answers with wrong types anywhere in it, and bytes that are no JSON."""
    names = st.sampled_from(
        ["candidates", "content", "parts", "text", "functionCall", "args", "name", "finishReason", "index", "error",
         "usageMetadata", "promptFeedback", "blockReason", "message", "done", "done_reason", "tool_calls", "function",
         "arguments", "thinking", "model", "eval_count", "embeddings", "values"]
    )  # fmt: skip
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("STOP")
    trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))
    encoded = trees.map(lambda tree: json.dumps(tree).encode())
    return encoded | st.binary(max_size=60) | st.builds(lambda data, n: data[:n], encoded, st.integers(0, 60))
