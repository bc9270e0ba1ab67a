"""Endpoints: who serves a model, what is known of each and how it is reached.

Owns the Struct. What it says of data, cost and quality is the admin's word, never the endpoint's own.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from fastpath.settings.kinds import (
    ApiPath,
    Capability,
    ContextTokens,
    FilePath,
    Label,
    ModelName,
    Seconds,
    SecretText,
    Tier,
    Url,
)
from fastpath.settings.preset import shipped_presets
from fastpath.settings.syntax import url_label
from fastpath.settings.tenancy import ModelPrice
from fastpath.settings.watch import Load, Probe

_UNSAID = {"url": "", "dialect": "openai", "provider": None}


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model server, or one account at a provider."""

    url: Annotated[
        Url,
        Meta(
            description="Base URL of its API, with the version: `http://127.0.0.1:9001/v1`. http or https; no user, "
            "query or fragment. The path of a request after `/v1` is added to it. Required where `preset` does not "
            "give one."
        ),
    ] = ""
    preset: Annotated[
        Label | None,
        Meta(
            description="A provider that is known (`fastpath presets`): fills `url`, `dialect` and `provider` where "
            "they are not given here. Its key is not read from the environment by itself: write `api_key`."
        ),
    ] = None
    model: Annotated[
        ModelName | None,
        Meta(
            description="Model name sent to this endpoint. None: the name the caller used, and then the body goes "
            "through byte for byte."
        ),
    ] = None
    api_key: Annotated[
        SecretText | None,
        Meta(
            description="Key sent to this endpoint as `Authorization: Bearer`, or in its dialect's field for keys. "
            "Write `${NAME}` and keep the key in the environment; it never appears in logs, errors, metrics, `ps` or "
            "child processes' environments. "
            "None: no key is sent; a caller's own is never passed on."
        ),
    ] = None
    tier: Annotated[
        Tier,
        Meta(
            description="Where data goes that is sent there: L0 a user's own terminal, L1 your own servers, L2 a "
            "provider's cloud. L2 unless you say so, because trust is given and not assumed."
        ),
    ] = "L2"
    weight: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            extra={"unit": "shares"},
            description="Share of the model's requests under weighted_round_robin, relative to its other "
            "endpoints. 0: chosen only when no other endpoint is left, which makes it a spare.",
        ),
    ] = 1
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            extra={"unit": "connections per worker"},
            description="Connections one worker opens to this endpoint. HTTP/1.1 carries one stream each, so it is "
            "also the number of requests in flight; more wait for at most `timeouts.connect`. High, because the "
            "model server is the one to say when it is full.",
        ),
    ] = 1024
    dialect: Annotated[
        Literal["openai", "azure", "anthropic", "gemini", "ollama"],
        Meta(
            description="API the endpoint speaks. Callers always speak OpenAI's: chat completions are translated where "
            "it is another. `azure` is OpenAI's with Azure's paths and key field. See [dialects](dialects.md)."
        ),
    ] = "openai"
    api_version: Annotated[
        Label | None,
        Meta(
            description="Azure's `api-version`, for its API by deployments: `url` is then the resource alone "
            "(`https://NAME.openai.azure.com`) and `model` the deployment. None: Azure's v1 API, whose `url` ends in "
            "`/openai/v1`."
        ),
    ] = None
    paths: Annotated[
        tuple[ApiPath, ...] | None,
        Meta(
            description="API paths this endpoint serves, as callers write them (`/v1/embeddings`). None: all of "
            "them, so that a new path of a model server works without a change here."
        ),
    ] = None
    ca_file: Annotated[
        FilePath | None,
        Meta(
            description="PEM file with the authorities that may sign an https endpoint's certificate. None: the "
            "system's. Certificates are always verified; a private authority belongs here."
        ),
    ] = None
    provider: Annotated[
        Label | None,
        Meta(
            description="Who is paid for it, by the name in the price list (`prices`), which is asked for this "
            "endpoint's model. None: told by the host of a well-known provider's URL, nobody's elsewhere."
        ),
    ] = None
    region: Annotated[
        Label | None,
        Meta(
            description="Where it stands (`eu`, `cn-north`), for rules about where data may go and for logs. None: "
            "nobody says, and a rule that asks for a region does not take it."
        ),
    ] = None
    chip: Annotated[
        Label | None,
        Meta(description="What it computes on (`h100`, `ascend-910b`), for logs and metrics. None: nobody says."),
    ] = None
    version: Annotated[
        Label | None,
        Meta(description="Version of the model that it serves, for logs and the record of a decision."),
    ] = None
    quality: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            extra={"unit": "share of the best"},
            description="How good its answers are beside the other endpoints of the model: from your own evaluation, 1 "
            "the best. Equal everywhere, it decides nothing.",
        ),
    ] = 0.5
    context: Annotated[
        ContextTokens | None,
        Meta(
            extra={"unit": "tokens"},
            description="Tokens of prompt and answer together that it takes; requests with more are not sent there. "
            "None: it is not known, and nothing is kept from it.",
        ),
    ] = None
    supports: Annotated[
        tuple[Capability, ...] | None,
        Meta(
            description="What it can do beyond text. A request that needs one of these goes only where it is declared. "
            "None: nobody says; it is asked only where no other endpoint declares it."
        ),
    ] = None
    languages: Annotated[
        tuple[Label, ...] | None,
        Meta(description="Languages that it is good at, as `zh` or `en`. None: all the same."),
    ] = None
    price: Annotated[
        ModelPrice | None,
        Meta(
            description="What it costs you, per million tokens: a provider's price, or your own servers' by your own "
            "reckoning. None: what the price list (`prices`) says."
        ),
    ] = None
    ttft: Annotated[
        Seconds | None,
        Meta(
            extra={"unit": "seconds"},
            description="Time to the first token to expect of it before any was measured. None: worked out of what "
            "waits there and `throughput`.",
        ),
    ] = None
    throughput: Annotated[
        float,
        Meta(
            gt=0,
            le=1e9,
            extra={"unit": "tokens per second"},
            description="Prompt tokens that it reads in a second, until it says so itself.",
        ),
    ] = 2000.0
    probe: Annotated[
        Probe | None,
        Meta(description="How its health is asked for while no request runs. None: as `watch.probe` says."),
    ] = None
    load: Annotated[
        Load | None,
        Meta(description="Where it tells how busy it is. None: it is not asked, and in-flight numbers have to do."),
    ] = None
    name: Annotated[
        Label | None,
        Meta(
            description="Label in logs and metrics, unique inside its model. None: host and port of the URL; two "
            "accounts at one provider need names."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Fills what the preset knows. Raises ValueError for an endpoint that leads nowhere."""
        known = shipped_presets().get(self.preset) if self.preset is not None else None
        if known is not None:
            for name, unsaid in _UNSAID.items():
                if getattr(self, name) == unsaid:
                    force_setattr(self, name, getattr(known, name))
        if not self.url:
            raise ValueError("an endpoint needs a url, or a preset that is known")

    @property
    def label(self) -> str:
        """Name of this endpoint in logs and metrics."""
        return self.name or url_label(self.url)
