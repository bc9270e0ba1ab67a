"""The settings tree: what may be configured, its types, bounds, units and defaults, each with its reason.

Owns the shape, the codec for the pipe from supervisor to worker, and the JSON Schema. Does not read files
(`file`) and does not compare settings with each other (`rules`). A description below is the
documentation: docs/reference/settings.md and `fastpath schema` are generated from it. Every Struct is frozen, so any
thread may read it. msgspec checks nothing when a Struct is made in Python: `file.validate` does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fastpath.settings.control import Control
from fastpath.settings.idempotency import Idempotency
from fastpath.settings.issuers import Issuer
from fastpath.settings.kinds import (
    ApiPath,
    Bytes,
    DataClass,
    Delay,
    FilePath,
    KeyHash,
    Label,
    ModelName,
    Moment,
    Nameserver,
    Network,
    Picker,
    Seconds,
    SecretText,
    Tier,
    Url,
)
from fastpath.settings.listen import Listen
from fastpath.settings.policies import Effect, Policy
from fastpath.settings.secret import Secret, mask_hook, reveal_hook, schema_hook, secret_hook
from fastpath.settings.shared import Shared
from fastpath.settings.syntax import url_label
from fastpath.settings.tenancy import Budget, Limit, ModelClamp, ModelLimits, ModelPrice, Ppm, Tenant

MIB = 1 << 20


class Key(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A caller's key: its hash, never the key itself."""

    name: Annotated[Label, Meta(description="Name of the caller in logs and metrics. Unique in the file.")]
    hash: Annotated[
        KeyHash,
        Meta(
            description="Hash of the key as `fastpath keys new` or `fastpath keys hash` prints it. It is keyed with "
            "the pepper in the state folder, so a stolen settings file does not help to guess keys, and a hash made "
            "on another gateway does not work here."
        ),
    ]
    models: Annotated[
        tuple[ModelName, ...],
        Meta(min_length=1, description='Names of the models this key may use. `"*"` stands for all of them.'),
    ] = ("*",)
    paths: Annotated[
        Annotated[tuple[ApiPath, ...], Meta(min_length=1)] | None,
        Meta(
            description="API paths this key may use; `/v1/models` is one, and stands for its parts too. None: all.",
        ),
    ] = None
    networks: Annotated[
        Annotated[tuple[Network, ...], Meta(min_length=1)] | None,
        Meta(
            description="Addresses or networks this key may be used from. The caller's address is that of its "
            "connection, or the one that `listen.trusted_proxies` tell. None: anywhere.",
        ),
    ] = None
    data_class: Annotated[
        DataClass | None,
        Meta(
            description="Most sensitive class of data that may be sent with this key: P0 is the most sensitive, P2 is "
            "public. A request says its class in `x-fastpath-data-class`; one that does not counts as this class. "
            "None: any may be sent."
        ),
    ] = None
    expires: Annotated[
        Moment | None,
        Meta(description="When the key ends, such as `2027-01-31T18:00:00Z`. Running answers end too. None: never."),
    ] = None
    insight: Annotated[
        bool,
        Meta(
            description="Whether this caller sees how the gateway handled its requests: answers carry "
            "`x-fastpath-overhead-us`, the microseconds a request spent in the gateway itself (of an event stream, "
            "those before its first event)."
        ),
    ] = False
    tenant: Annotated[
        Label | None,
        Meta(description="Tenant that this key belongs to, by its name under `tenants`. None: it stands for itself."),
    ] = None
    team: Annotated[
        Label | None,
        Meta(description="Team of the tenant. None: that of the user, if it has one."),
    ] = None
    user: Annotated[Label | None, Meta(description="User of the tenant.")] = None
    ids: Annotated[
        tuple[str, ...],
        Meta(
            description="Ids of tenant, team, user and key, which bills carry in place of the names. The control plane "
            "sets them for its own keys; leave them out."
        ),
    ] = ()
    limits: Annotated[
        tuple[Limit, ...],
        Meta(description="What this key may use per time, on top of what its user, team and tenant may."),
    ] = ()
    model_limits: Annotated[
        tuple[ModelLimits, ...], Meta(description="Limits of this key for single models, on top of `limits`.")
    ] = ()
    budgets: Annotated[
        tuple[Budget, ...], Meta(description="What this key may spend per day, month or number of days.")
    ] = ()


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long to wait for what. Every wait of the gateway ends by one of these."""

    connect: Annotated[
        Seconds | None,
        Meta(
            extra={"unit": "seconds"},
            description="Opening a connection to an endpoint, DNS and TLS included; also the longest wait for a "
            "free one when all are taken. None: 1 s for tiers L0 and L1, which are near, and 3 s "
            "for L2, which may be an ocean away.",
        ),
    ] = None
    first_byte: Annotated[
        Seconds,
        Meta(
            description="From the end of the request to the first byte of the response. Long, because a long prompt "
            "on a busy model server is minutes of prefill and not a fault."
        ),
    ] = 120.0
    idle: Annotated[
        Seconds,
        Meta(
            description="Silence of an endpoint in the middle of a response. Tokens come every few milliseconds; a "
            "minute without one means that the server hangs."
        ),
    ] = 60.0
    total: Annotated[
        Seconds,
        Meta(
            description="The whole request, retries included. The default is the `openai` client's own time-out: "
            "nobody reads an answer that comes later."
        ),
    ] = 600.0
    client_stall: Annotated[
        Seconds,
        Meta(
            description="A caller that reads nothing while an answer waits for it. Its connection is closed then, "
            "because it holds a slot of the model server and memory here."
        ),
    ] = 120.0
    client_body: Annotated[
        Seconds,
        Meta(
            description="Silence of a caller while it sends its request body. Short, because a slow body is the "
            "cheapest way to hold a server's connections."
        ),
    ] = 30.0
    comment_after: Annotated[
        Seconds,
        Meta(
            description="Silence on a stream that has begun and waits for its first token, after which an SSE "
            "comment is sent. Many proxies close a connection that is silent for 30 or 60 s."
        ),
    ] = 15.0
    pool_idle: Annotated[
        Seconds,
        Meta(
            description="How long an idle connection to an endpoint is kept. Less than the 5 s after which uvicorn "
            "closes it: the one who closes first never meets a request on its way."
        ),
    ] = 4.0


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model server, or one account at a provider."""

    url: Annotated[
        Url,
        Meta(
            description="Base URL of its API, with the version: `http://127.0.0.1:9001/v1`. http or https; no user, "
            "query or fragment. The path of a request after `/v1` is added to it."
        ),
    ]
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
            description="Key sent to this endpoint as `Authorization: Bearer`. Write `${NAME}` and keep the key in "
            "the environment; it never appears in logs, errors, metrics, `ps` or child processes' environments. "
            "None: no Authorization header; a caller's own key is never passed on."
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
        Literal["openai"],
        Meta(description="Language the endpoint speaks. Only `openai` for now, which every model server offers."),
    ] = "openai"
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
    name: Annotated[
        Label | None,
        Meta(
            description="Label in logs and metrics, unique inside its model. None: host and port of the URL; two "
            "accounts at one provider need names."
        ),
    ] = None

    @property
    def label(self) -> str:
        """Name of this endpoint in logs and metrics."""
        return self.name or url_label(self.url)


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model under the name that callers use, and who serves it."""

    name: Annotated[
        ModelName,
        Meta(
            description='Name that callers use. `"*"` takes every name that no other entry has and passes it on '
            "unchanged; inside a longer name * has no meaning and is refused."
        ),
    ]
    endpoints: Annotated[
        tuple[Endpoint, ...],
        Meta(min_length=1, description="Who serves it. A request that fails on one is retried on another."),
    ]
    picker: Annotated[
        Picker,
        Meta(
            description="How an endpoint is chosen. `weighted_round_robin` shares by weight; `least_in_flight` "
            "takes the one with the fewest running requests, better where answers differ much in length."
        ),
    ] = "weighted_round_robin"
    timeouts: Annotated[
        Timeouts | None,
        Meta(
            description="Time-outs of this model alone. In a file, a field left out here comes from the top-level "
            "`timeouts`. None: those for all."
        ),
    ] = None
    limits: Annotated[
        tuple[Limit, ...],
        Meta(
            description="What all callers together may use of this model. Beyond it they are answered 503 "
            "`overloaded` and not 429, and see no remaining amounts: those would tell them about each other."
        ),
    ] = ()
    price: Annotated[
        ModelPrice | None,
        Meta(
            description="What callers are charged for this model, before markup, whoever serves it. None: what the "
            "price list (`prices`) says of the endpoint that served it; where that says nothing either, it costs "
            "nothing and takes nothing from budgets of money."
        ),
    ] = None
    markup_ppm: Annotated[
        Ppm,
        Meta(
            description="What is added to the price, or below 0 taken off it, for tenants that say nothing themselves."
        ),
    ] = 0
    clamp: Annotated[
        ModelClamp | None,
        Meta(description="The most that a request may ask of this model. None: as much as it likes."),
    ] = None


class Retries(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Second chances, on another endpoint and before the first content byte only."""

    attempts: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            extra={"unit": "attempts"},
            description="Extra attempts after the first. Few, because the caller's client retries too and the two "
            "multiply. 0: never retry.",
        ),
    ] = 2
    budget_ratio: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            extra={"unit": "share of requests"},
            description="Retries allowed as a share of the last 10 s of requests. When everything fails, retries "
            "would double the load exactly when it hurts; a budget stops them.",
        ),
    ] = 0.1
    budget_min: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            extra={"unit": "retries per 10 s"},
            description="Retries allowed in 10 s on top of the share, so that a quiet gateway may retry at all.",
        ),
    ] = 3
    backoff: Annotated[
        Delay,
        Meta(
            description="Wait before the first retry, jittered and doubled each time. Short, since the retry goes "
            "to another endpoint."
        ),
    ] = 0.05
    backoff_max: Annotated[
        Delay, Meta(description="Longest wait before a retry. A person waits for a first token meanwhile.")
    ] = 1.0


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How big things may be. Over a body limit the caller gets 413."""

    json_body: Annotated[
        Bytes,
        Meta(
            description="Largest JSON request body. A million tokens of text is about 4 MiB; images written into "
            "the JSON need the rest."
        ),
    ] = 8 * MIB
    upload_body: Annotated[
        Bytes,
        Meta(description="Largest audio or image upload. 25 MB, the limit of OpenAI's audio API, fits with room."),
    ] = 32 * MIB
    frame: Annotated[
        Bytes,
        Meta(
            description="Largest single SSE event of an endpoint; a longer one breaks the stream as an upstream "
            "fault. An event is held until it is whole, so this bounds what one stream may hold."
        ),
    ] = 1 * MIB
    response_body: Annotated[
        Bytes,
        Meta(
            description="Largest response body that is not a stream of events. Bigger is an upstream fault: an "
            "endpoint must not be able to fill the memory of the gateway."
        ),
    ] = 64 * MIB
    memory: Annotated[
        Bytes,
        Meta(
            extra={"unit": "bytes per worker"},
            description="Budget of one worker for bodies and buffers together. At 80 % of it large bodies are "
            "refused with 503 and at 90 % all, before the kernel kills the worker with every stream on it.",
        ),
    ] = 512 * MIB


class Dns(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How endpoints' host names become addresses."""

    nameservers: Annotated[
        tuple[Nameserver, ...],
        Meta(description="Servers to ask, as `address` or `address:port`. Empty: those of the system."),
    ] = ()
    max_ttl: Annotated[
        Delay,
        Meta(
            description="Longest time an answer is kept, whatever its TTL says: the bound on how long traffic goes "
            "to an address that was taken away. The last good answer serves up to twice its TTL when DNS fails."
        ),
    ] = 300.0
    min_ttl: Annotated[
        Delay,
        Meta(description="Shortest time an answer is kept, so that a TTL of 0 does not mean a query per request."),
    ] = 1.0


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The access log: one JSON line per request, without prompts, answers or keys."""

    access: Annotated[
        FilePath,
        Meta(
            description="Where access lines go: `stdout`, `off`, or the path of a file that is appended to. Standard "
            "output, because that is where systemd and containers look."
        ),
    ] = "stdout"
    ring: Annotated[
        int,
        Meta(
            ge=1,
            le=1 << 24,
            extra={"unit": "lines per worker"},
            description="Lines that may wait for a slow reader. When the ring is full, lines are dropped and "
            "counted; a request never waits for a log. 8192 are about a second of full load.",
        ),
    ] = 8192


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be configured."""

    listen: Annotated[Listen, Meta(description="Where callers and the administrator connect.")] = Listen()
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            extra={"unit": "processes"},
            description="Worker processes. One saturates a core and is plenty for most pools, whose model servers "
            "are far slower; more share the listening socket.",
        ),
    ] = 1
    state_dir: Annotated[
        FilePath | None,
        Meta(
            description="Folder for what must survive a restart: the pepper of the key hashes. Only its owner may "
            "enter it (mode 0700). None: `/var/lib/fastpath` for root, else `$XDG_STATE_HOME/fastpath` or "
            "`~/.local/state/fastpath`."
        ),
    ] = None
    keys: Annotated[
        tuple[Key, ...],
        Meta(
            description="Callers' keys. With any, every request needs one of them; without, anyone who reaches the "
            "port may use every model, which is why only loopback is served then."
        ),
    ] = ()
    tenants: Annotated[
        tuple[Tenant, ...],
        Meta(
            description="Who keys belong to: limits and budgets that several keys share. Empty: every key stands for "
            "itself."
        ),
    ] = ()
    issuers: Annotated[
        tuple[Issuer, ...],
        Meta(
            description="Identity providers whose tokens (JWT) callers may send in place of a key. With any, every "
            "request needs a key or a token."
        ),
    ] = ()
    control: Annotated[
        Control | None,
        Meta(
            description="A control process beside the workers. With one, every request needs a key, of this file or of "
            "the admin API; what the file names wins over what the admin API names the same. None: nothing is "
            "started, and this file is the whole truth, which is what a sidecar wants."
        ),
    ] = None
    shared: Annotated[
        Shared | None,
        Meta(
            description="Other nodes with which this one shares its limits, budgets and keys. None: it stands alone, "
            "and its limits are its own."
        ),
    ] = None
    models: Annotated[
        tuple[Model, ...],
        Meta(
            description="Models that callers may name. Empty: every request is answered 404 `model_not_found`; good "
            "for a first start and for nothing else."
        ),
    ] = ()
    prices: Annotated[
        FilePath | None,
        Meta(
            description="Price list of your own, with exchange rates: its rows win over the shipped ones model by "
            "model (docs/reference/prices.md). Read when the gateway starts and at every reload. None: the shipped "
            "list."
        ),
    ] = None
    policies: Annotated[
        tuple[Policy, ...],
        Meta(
            description="Rules about who may send what where. A request that a `deny` holds for is answered 403 "
            "`policy_blocked`. Empty: only keys' own scopes count."
        ),
    ] = ()
    policy_default: Annotated[
        Effect,
        Meta(
            description="What happens to a request that no rule holds for. `allow`: rules only take away. `deny`: "
            "nothing passes but what a rule allows."
        ),
    ] = "allow"
    timeouts: Annotated[Timeouts, Meta(description="How long to wait for what, for every model.")] = Timeouts()
    retries: Annotated[Retries, Meta(description="Second chances on another endpoint.")] = Retries()
    limits: Annotated[Limits, Meta(description="How big things may be.")] = Limits()
    idempotency: Annotated[
        Idempotency, Meta(description="Requests that callers may repeat without running them twice.")
    ] = Idempotency()
    dns: Annotated[Dns, Meta(description="How host names of endpoints become addresses.")] = Dns()
    log: Annotated[Log, Meta(description="The access log.")] = Log()

    @classmethod
    def for_upstream(cls, url: str, *, api_key: Secret | None = None, listen: Listen | None = None) -> "Settings":
        """Settings of `fastpath serve --upstream URL`: the wildcard model `*` with one endpoint.

        Any model name is passed on unchanged. `url` as in `Endpoint.url`; it is not checked here.
        """
        endpoint = Endpoint(url=url, api_key=api_key)
        return cls(models=(Model(name="*", endpoints=(endpoint,)),), listen=listen or Listen())


def state_folder(configured: str | None, environ: Mapping[str, str], uid: int) -> Path:
    """The state folder: `configured`, else root's, else the user's. `~` is `$HOME`; nothing is created."""
    home = environ.get("HOME", "/")
    if configured is not None:
        if configured == "~" or configured.startswith("~/"):
            return Path(home) / configured[2:]
        return Path(configured)
    if uid == 0:
        return Path("/var/lib/fastpath")
    return Path(environ.get("XDG_STATE_HOME") or Path(home, ".local", "state")) / "fastpath"


def encode_settings(settings: Settings) -> bytes:
    """MessagePack for the pipe to a worker, secrets included: never write it anywhere else."""
    return msgspec.msgpack.encode(settings, enc_hook=reveal_hook)


def decode_settings(data: bytes) -> Settings:
    """Reverse of `encode_settings`. Raises msgspec.ValidationError or DecodeError on foreign bytes."""
    return msgspec.msgpack.decode(data, type=Settings, dec_hook=secret_hook)


def show_settings(settings: Settings) -> bytes:
    """JSON for people: every secret is a mask."""
    return msgspec.json.encode(settings, enc_hook=mask_hook)


def settings_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the settings file, for editors and for CI."""
    schema = msgspec.json.schema(Settings, schema_hook=schema_hook)
    title = "Settings of Fastpath"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
