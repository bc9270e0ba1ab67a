"""What a control process is told when it starts: one line of JSON on standard input, so that nothing shows in `ps`.

Owns the shape and its rules. Does not own the settings file of the gateway. Pure.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from controlplane.secrets.master import FileSource, Source
from controlplane.settlement.plan import BATCH, Plan
from fastpath.identity.token.trust import problems
from fastpath.settings.control import Webhook
from fastpath.settings.issuers import AdminIssuer
from fastpath.settings.secret import Secret, reveal_hook, secret_hook
from fastpath.settings.syntax import is_loopback


class ControlSettingsError(Exception):
    """The settings cannot be used. The message says who must do what."""


class ControlSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be told."""

    state_dir: Annotated[str, Meta(description="State folder (0700): pepper, master key, database, init socket.")]
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0 lets the kernel choose.")] = 8342
    listen_fd: Annotated[int, Meta(ge=3, description="A listening socket that was inherited, instead.")] | None = None
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Names, besides loopback and addresses, under which the admin API may be called."),
    ] = ()
    database: Annotated[
        Secret | None,
        Meta(description="`sqlite:///FILE` or `postgresql://...`. None: control.db in the state folder."),
    ] = None
    master_key: Annotated[Source | None, Meta(description="None: master.key in the state folder, made if missing.")] = (
        None
    )
    cert: Annotated[str | None, Meta(description="PEM file with the certificate chain: HTTPS, TLS 1.3.")] = None
    cert_key: Annotated[str | None, Meta(description="PEM file with its private key.")] = None
    insecure: Annotated[
        bool, Meta(description="Listen where others can reach it without TLS. Admin keys cross that network readable.")
    ] = False
    end_with_stdin: Annotated[bool, Meta(description="Stop when standard input ends: its parent is gone.")] = False
    webhooks: Annotated[
        tuple[Webhook, ...] | None,
        Meta(description="Who is told of budget alerts, by the settings file. None: there is none, leave them be."),
    ] = None
    allow_hosts: Annotated[
        tuple[str, ...], Meta(description="Hosts of webhooks that may have private or loopback addresses.")
    ] = ()
    outbox: Annotated[
        str | None, Meta(description="Folder that workers write usage to. None: in the state folder.")
    ] = None
    issuers: Annotated[
        tuple[AdminIssuer, ...], Meta(description="Whose tokens administrators may send in place of an admin key.")
    ] = ()
    keep_days: Annotated[int, Meta(ge=1, le=400, description="How long records of decisions are shown.")] = 7
    settle_batch: Annotated[int, Meta(ge=1, le=100_000, description="Facts that are booked at once, at most.")] = BATCH

    @property
    def folder(self) -> Path:
        """The state folder."""
        return Path(self.state_dir)

    @property
    def outbox_folder(self) -> Path:
        """Where workers write usage."""
        return Path(self.outbox) if self.outbox else self.folder / "outbox"

    @property
    def plan(self) -> Plan:
        """How usage is settled."""
        return Plan(batch=self.settle_batch)

    @property
    def database_url(self) -> Secret:
        """Where the database is."""
        return self.database or Secret(f"sqlite:///{self.folder / 'control.db'}")

    @property
    def master_source(self) -> Source:
        """Where the master key is."""
        return self.master_key or FileSource(str(self.folder / "master.key"), make=True)


def read_settings(line: bytes) -> ControlSettings:
    """Settings from their line. Raises ControlSettingsError, which repeats no value."""
    try:
        settings = msgspec.json.decode(line, type=ControlSettings, dec_hook=secret_hook)
    except msgspec.DecodeError as error:
        raise ControlSettingsError(f"the settings on standard input are not usable: {error}") from None
    check_settings(settings)
    return settings


def encode_control_settings(settings: ControlSettings) -> bytes:
    """The line, secrets included: never write it anywhere but to a pipe."""
    return msgspec.json.encode(settings, enc_hook=reveal_hook) + b"\n"


def check_settings(settings: ControlSettings) -> None:
    """Raises ControlSettingsError for settings that contradict each other or would give secrets away."""
    if settings.database is not None and not settings.database.reveal():
        raise ControlSettingsError("the database's address is empty: leave it out for the file in the state folder")
    if not settings.state_dir:
        raise ControlSettingsError("the state folder is empty: name one with --state-dir")
    if (settings.cert is None) != (settings.cert_key is None):
        raise ControlSettingsError("a certificate needs its key, and a key its certificate: give both or neither")
    for issuer in settings.issuers:
        if wrong := problems(issuer):
            raise ControlSettingsError(f"issuer {issuer.name}: {'; '.join(wrong)}")
    if settings.cert is None and not settings.insecure and not is_loopback(settings.host):
        raise ControlSettingsError(
            f"{settings.host} can be reached by others, who would read admin keys on the way: give a certificate, "
            "or say --insecure when something in front does TLS"
        )
