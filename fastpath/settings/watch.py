"""What the watch process asks endpoints: whether they are well, and how busy they are.

Owns the Structs. Nothing is asked that costs tokens, and nothing is asked that nobody configured: a probe is a request
that a provider sees and counts.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from fastpath.settings.kinds import ProbePath, Seconds, Url


class Probe(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A question about an endpoint's health, asked with its `api_key` by one process of the node. Three bad answers in
    a row take the endpoint out, two good ones bring it back."""

    enabled: Annotated[bool, Meta(description="Whether it is asked.")] = True
    path: Annotated[
        ProbePath | None,
        Meta(
            description="Path to GET, from the root of the server: `/health`. None: `models` below the endpoint's URL, "
            "which every OpenAI-like server answers without cost; one that has no such path (404, 405, 501) is not "
            "judged."
        ),
    ] = None
    expect: Annotated[
        Literal["json", "ok"] | None,
        Meta(
            description="What a good answer is: `json` a status of 200 to 299 with a JSON object or array, `ok` such a "
            "status alone. None: `ok` where a path is given, else `json`."
        ),
    ] = None
    interval: Annotated[
        Seconds,
        Meta(
            description="Between two questions while all is well, a tenth more or less. After a bad answer the next "
            "comes within half a second, and one that is out is asked every second, after half a minute every five."
        ),
    ] = 10.0
    timeout: Annotated[
        Seconds,
        Meta(description="The whole answer, connecting included. Later is as bad as never."),
    ] = 3.0


class Load(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How busy an endpoint is by its own word, read from its page of metrics by one process of the node."""

    engine: Annotated[
        Literal["vllm", "sglang", "ollama", "llama.cpp", "triton", "tensorrt-llm"],
        Meta(description="What runs there, which says how the page reads. Of Ollama: whether the model is in memory."),
    ]
    url: Annotated[
        Url | None,
        Meta(
            description="The page. None: the engine's usual path at the endpoint's host and port (`/metrics`; "
            "`/api/ps` of Ollama; `/prometheus/metrics` of TensorRT-LLM). The endpoint's key is sent only to its own "
            "host and port."
        ),
    ] = None
    interval: Annotated[
        Seconds, Meta(description="Between two looks while it is idle. A page that cannot be read is tried less often.")
    ] = 4.0
    busy_interval: Annotated[Seconds, Meta(description="Between two looks while it has requests.")] = 0.5
    timeout: Annotated[Seconds, Meta(description="The whole page, connecting included.")] = 2.0


class Watch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The watch process: one per node, started when there is something to watch."""

    enabled: Annotated[
        bool,
        Meta(description="Whether it runs. False: nothing is probed or polled, whatever endpoints ask for."),
    ] = True
    probe: Annotated[
        Probe | None,
        Meta(description="Probe of every endpoint that has none of its own. None: only those are probed that have."),
    ] = None
