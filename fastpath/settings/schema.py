"""The settings tree: what may be configured, its types, bounds, units and defaults, each with its reason.

Owns the shape, the codec for the pipe from supervisor to worker, and the JSON Schema. Does not read files
(`file`) and does not compare settings with each other (`rules`). A description below is the
documentation: docs/reference/settings.md and `fastpath schema` are generated from it. Every Struct is frozen, so any
thread may read it. msgspec checks nothing when a Struct is made in Python: `file.validate` does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from fastpath.settings.control import Control
from fastpath.settings.decisions import Decisions
from fastpath.settings.endpoint import Endpoint
from fastpath.settings.health import Health
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
)
from fastpath.settings.listen import Listen
from fastpath.settings.model import Model, Timeouts
from fastpath.settings.policies import Effect, Policy
from fastpath.settings.routing import Routing
from fastpath.settings.secret import Secret, mask_hook, reveal_hook, schema_hook, secret_hook
from fastpath.settings.shared import Shared
from fastpath.settings.tenancy import Budget, Limit, ModelLimits, Tenant
from fastpath.settings.watch import Watch

MIB = 1 << 20
#: Loopback, RFC 1918, RFC 6598 (carriers and overlays such as Tailscale) and unique local IPv6.
LOCAL_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)


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
            "those before its first event), and `x-fastpath-decision`, the endpoint that was chosen and why. Its "
            "requests leave a record (`decisions`), in which it sees the names of endpoints."
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
    data_class: Annotated[
        DataClass | None,
        Meta(
            description="Least class of requests whose tenant has no `data_class` of its own, and of those without a "
            "tenant: what a request counts as that says none. P0 and P1 stay on endpoints of tier L0 and L1, P2 may go "
            "to all. None: nobody says; P0 where all endpoints are local, P2 where all are of tier L2, and where "
            "there are both the gateway does not start before someone does."
        ),
    ] = None
    local_networks: Annotated[
        Annotated[tuple[Network, ...], Meta(min_length=1)],
        Meta(
            description="Where endpoints of tier L0 and L1 must be: every address that their host has is looked up "
            "in these when a connection is opened, so that a name cannot lead data away. Addresses of cloud metadata "
            "services and link-local ones count only where a network in here is one of theirs."
        ),
    ] = LOCAL_NETWORKS
    timeouts: Annotated[Timeouts, Meta(description="How long to wait for what, for every model.")] = Timeouts()
    watch: Annotated[Watch, Meta(description="The process that asks endpoints how they are, and how busy.")] = Watch()
    routing: Annotated[Routing, Meta(description="How the best endpoint of a model is found.")] = Routing()
    retries: Annotated[Retries, Meta(description="Second chances on another endpoint.")] = Retries()
    health: Annotated[
        Health, Meta(description="What endpoints that fail or are slow lose, and how they come back.")
    ] = Health()
    limits: Annotated[Limits, Meta(description="How big things may be.")] = Limits()
    idempotency: Annotated[
        Idempotency, Meta(description="Requests that callers may repeat without running them twice.")
    ] = Idempotency()
    decisions: Annotated[Decisions, Meta(description="Records of why requests ran where they ran.")] = Decisions()
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
