"""What is to be asked of which endpoint: plain data, as it also travels to the watch process.

Owns the Structs. They hold what asking takes and nothing else of the settings.
"""

from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from _native.arena import digest

Engine = Literal["vllm", "sglang", "ollama", "llama.cpp", "triton", "tensorrt-llm"]
Expect = Literal["json", "ok"]
Fact = Literal["sample", "probe", "ttft"]
#: Of a model and its endpoint.
Name = tuple[str, str]

#: Seconds of work that a model stands for that must be read into memory before it can answer.
COLD: Final = 10.0


class Probing(msgspec.Struct, frozen=True):
    """How health is asked for. target: path and query from the root of the server; seconds.

    optional: a server without that path is one that cannot be asked, and not a broken one.
    """

    target: str
    expect: Expect = "json"
    interval: float = 10.0
    timeout: float = 3.0
    optional: bool = False


class Polling(msgspec.Struct, frozen=True):
    """How load is asked for. url: of the page that tells it; seconds. interval: while idle."""

    engine: Engine
    url: str
    interval: float = 4.0
    busy_interval: float = 0.5
    timeout: float = 2.0


class Watched(msgspec.Struct, frozen=True):
    """One endpoint of one model. `model` and `endpoint` name it everywhere; `serves` is the model's name over there.

    throughput: prompt tokens a second as configured. networks: where all its addresses must be, None: anywhere.
    """

    model: str
    endpoint: str
    url: str
    serves: str | None = None
    api_key: str | None = None
    ca_file: str | None = None
    tier: str = "L2"
    networks: tuple[str, ...] | None = None
    throughput: float = 2000.0
    probing: Probing | None = None
    polling: Polling | None = None

    @property
    def name(self) -> Name:
        """Of the facts about it."""
        return self.model, self.endpoint

    def __repr__(self) -> str:
        return f"Watched({self.model!r}, {self.endpoint!r})"  # the key must not get into a log


def probe_of(watched: Watched) -> Watched | None:
    """The question of its health: equal for two endpoints whose server, way there, credentials and probe are the same,
    under whatever names and for whatever models. None where it is not probed."""
    return _unnamed(watched, polling=None) if watched.probing is not None else None


def poll_of(watched: Watched) -> Watched | None:
    """The question of its load, in the same sense. None where it is not polled."""
    return _unnamed(watched, probing=None) if watched.polling is not None else None


def _unnamed(watched: Watched, **without: None) -> Watched:
    return msgspec.structs.replace(watched, model="", endpoint="", serves=None, throughput=0.0, **without)


def fact_id(model: str, endpoint: str, fact: Fact = "sample") -> bytes:
    """The arena's id of one fact about an endpoint: its load sample, its probe word, its EWMA of first tokens."""
    return digest("endpoint", model, endpoint) if fact == "sample" else digest("endpoint", model, endpoint, fact)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def target_of(url: str) -> str:
    """What a request line asks for: the path and query of a URL."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
