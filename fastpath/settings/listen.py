"""Where callers and the admin page come in: addresses, doors, and how long a connection may take for what."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from fastpath.settings.kinds import (
    Delay,
    Door,
    FilePath,
    Host,
    Network,
    Port,
    UnixMode,
)


class Tls(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Certificate of the gateway's own listener."""

    cert: Annotated[FilePath, Meta(description="PEM file with the certificate and its chain, the leaf first.")]
    key: Annotated[
        FilePath,
        Meta(description="PEM file with the private key. Readable by the gateway's user alone, like any key."),
    ]


class Listen(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where callers and the administrator connect."""

    host: Annotated[
        Host,
        Meta(
            description="Address to listen on for callers. Loopback until you say otherwise, because a gateway "
            "without keys that others can reach spends your money for them. `0.0.0.0` or `::` is every address."
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Port,
        Meta(description="Port for callers. 0 lets the kernel choose. Not 8000, which belongs to model servers."),
    ] = 8340
    admin_host: Annotated[
        Host,
        Meta(
            description="Address of the admin listener (`/metrics`, `/debug/requests`). It asks for no key, so keep "
            "it on loopback or on a network that only your monitoring reaches."
        ),
    ] = "127.0.0.1"
    admin_port: Annotated[
        Port, Meta(description="Port of the admin listener, beside the callers' port. 0 lets the kernel choose.")
    ] = 8341
    unix: Annotated[
        FilePath | None,
        Meta(
            description="Path of a Unix socket for callers, instead of host and port: for a proxy or a sidecar on the "
            "same machine. A file left by a gateway that is gone is replaced; the file is removed at the stop. Such "
            "callers have no address: `client` is empty in the access log and X-Forwarded-For is not believed."
        ),
    ] = None
    unix_mode: Annotated[
        UnixMode,
        Meta(
            description="Who may connect to the Unix socket: the gateway's own user, its group too, or every user of "
            "the machine. In quotes, because YAML would take it for a number."
        ),
    ] = "0600"
    door: Annotated[
        Door,
        Meta(
            description="Which front door accepts connections. `native` is HTTP/1.1 in compiled code, the cheaper "
            "one; with `tls` it does TLS by Python's ssl module. `granian` does HTTP/1.1, and with `tls` HTTP/2 as "
            "well, in Rust. `auto` is native for plaintext and granian with `tls`."
        ),
    ] = "auto"
    reuse_port: Annotated[
        bool,
        Meta(
            description="Every worker listens on a socket of its own (SO_REUSEPORT), and the kernel deals connections "
            "out by their addresses, instead of all workers taking from one queue. More even under many short "
            "connections; but callers wait for the one worker they were dealt to, and those in the queue of a worker "
            "that crashes are reset. One that drains empties its queue first. Native door only."
        ),
    ] = False
    backlog: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            extra={"unit": "connections"},
            description="Connections the kernel keeps waiting while the workers are busy. The kernel caps it at "
            "`net.core.somaxconn`, 4096 on today's Linux.",
        ),
    ] = 4096
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            extra={"unit": "connections per worker"},
            description="Open client connections one worker takes. Above it, connections wait in the backlog: "
            "waiting there costs nothing, while accepting too many takes memory from the streams that run.",
        ),
    ] = 8192
    trusted_proxies: Annotated[
        tuple[Network, ...],
        Meta(
            description="Addresses or networks of the proxies in front of the gateway. From them, and from nobody "
            "else, X-Forwarded-For is believed: the client is its rightmost address that is not in this list. Empty: "
            "the client is whoever opened the connection."
        ),
    ] = ()
    proxy_protocol: Annotated[
        bool,
        Meta(
            description="Expect a PROXY protocol header (version 1 or 2) at the start of every connection. Turn it "
            "on only behind a load balancer that always writes one; a connection without it is then refused."
        ),
    ] = False
    insecure: Annotated[
        bool,
        Meta(
            description="Serve an address that others can reach although no keys are configured. Off, so that "
            "nobody opens a paid model to a network by accident."
        ),
    ] = False
    drain: Annotated[
        Delay,
        Meta(
            description="How long running answers may go on after SIGTERM. What is left then ends with an error "
            "frame. Shorter than the 90 s after which systemd kills; Kubernetes' default grace is 30 s."
        ),
    ] = 30.0
    tls: Annotated[
        Tls | None,
        Meta(
            description="Certificate for HTTPS, TLS 1.3. None: plain HTTP, for loopback or behind a proxy that does "
            "TLS. The files are read when a worker starts: restart the gateway for a renewed certificate."
        ),
    ] = None

    def choose_door(self, environ: Mapping[str, str]) -> Literal["granian", "native"]:
        """The door that serves. FASTPATH_DEBUG_DOOR in `environ` names it where these settings leave it open."""
        forced = environ.get("FASTPATH_DEBUG_DOOR")
        wanted = forced if self.door == "auto" and forced else self.door
        if wanted == "auto":
            wanted = "native" if self.tls is None else "granian"
        return "native" if wanted == "native" else "granian"

    @property
    def place(self) -> str:
        """Where callers connect, for people."""
        return f"unix:{self.unix}" if self.unix is not None else f"{self.host}:{self.port}"
