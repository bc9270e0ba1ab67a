"""The composition root of the admin API: rooms are joined here, and nowhere else.

Owns which routes there are and what handlers are given. `Rooms` is what a control process is made of; whoever runs one
opens and closes it. No state of a request outlives it.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from secrets import token_bytes
from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from msgspec import Struct

from controlplane.access.admin_keys import AdminKeys
from controlplane.access.credentials import Credentials
from controlplane.access.visitors import open_visitors
from controlplane.alerts.alerting import Alerting, open_alerting
from controlplane.alerts.tables import DESTINATIONS
from controlplane.api import access, alerts, audit, decisions, document, identity, policies, registry, secrets, usage
from controlplane.api.errors import (
    answer_bug,
    answer_depth,
    answer_framework,
    answer_problem,
    answer_seal,
    answer_store,
)
from controlplane.api.gate import Gate
from controlplane.api.parameters import provide_page
from controlplane.api.rules import Handlers, all_ruled, authorise, provide_principal
from controlplane.audit.trail import Trail
from controlplane.decisions import Decisions
from controlplane.identity.directory import Directory
from controlplane.identity.keys import Keys
from controlplane.policies.policies import Policies
from controlplane.problem import Problem
from controlplane.publish.news import HeardTrail
from controlplane.publish.press import Press, open_press
from controlplane.registry.registry import Registry
from controlplane.registry.scene import Scene
from controlplane.registry.tables import ENDPOINTS
from controlplane.secrets.master import read_keyring
from controlplane.secrets.seal import SealError
from controlplane.secrets.vault import Vault
from controlplane.settings import ControlSettings
from controlplane.settlement.billing import Billing, open_billing
from controlplane.store import schema
from controlplane.store.database import Database
from controlplane.store.errors import StoreError
from fastpath.settings.private import PrivateFileError, check_private_file, make_private, make_private_folder
from fastpath.settings.token import KeyHasher

MOST_BODY = 64 * 1024
PEPPER_SIZE = 32

ROUTES: Handlers = all_ruled(
    (
        *identity.ROUTES,
        *access.ROUTES,
        *policies.ROUTES,
        *registry.ROUTES,
        *secrets.ROUTES,
        *audit.ROUTES,
        *decisions.ROUTES,
        *usage.ROUTES,
        *alerts.ROUTES,
        *document.ROUTES,
    )
)
"""Every route there is."""


class Rooms(Struct, frozen=True):
    """What serves the routes."""

    database: Database
    hasher: KeyHasher
    trail: Trail
    credentials: Credentials
    directory: Directory
    keys: Keys
    admin_keys: AdminKeys
    policies: Policies
    vault: Vault
    billing: Billing
    alerting: Alerting
    press: Press
    decisions: Decisions
    registry: Registry
    scene: Scene


@asynccontextmanager
async def open_rooms(
    settings: ControlSettings, environ: Mapping[str, str], now: Callable[[], float]
) -> AsyncIterator[Rooms]:
    """Opens state folder, master key and database, and brings its schema up to date.

    Raises PrivateFileError, MasterKeyError, StoreError or ValueError; each says who must do what.
    """
    folder = settings.folder
    make_private_folder(folder)
    for name in ("control.db", "control.db-wal", "control.db-shm"):
        check_private_file(folder / name)
    pepper = read_pepper(settings)
    hasher = KeyHasher(pepper)

    def load() -> Any:
        return read_keyring(settings.master_source, environ)

    keyring = load()
    database = await Database.open(settings.database_url.reveal())
    try:
        await schema.upgrade(database)
        trail = HeardTrail(database, now, lambda: press.changed())
        vault = Vault(database, trail, keyring, load, (DESTINATIONS, ENDPOINTS))
        async with (
            open_press(database, folder, pepper, hasher.pepper_id, now, vault.open) as press,
            open_visitors(settings.issuers, database, now) as visitors,
            AsyncExitStack() as exits,
        ):
            scene = Scene(now, time.monotonic)
            alerting = await exits.enter_async_context(
                open_alerting(database, trail, vault, now, settings.allow_hosts, settings.webhooks)
            )
            billing = await exits.enter_async_context(
                open_billing(database, pepper, settings.outbox_folder, settings.plan, now, alerting.register.take)
            )
            yield Rooms(
                database,
                hasher,
                trail,
                Credentials(database, hasher, now, visitors),
                Directory(database, trail),
                Keys(database, trail, hasher),
                AdminKeys(database, trail, hasher),
                Policies(database, trail),
                vault,
                billing,
                alerting,
                press,
                Decisions(folder, settings.keep_days, now),
                Registry(database, trail, vault, scene),
                scene,
            )
    finally:
        await database.close()


def read_pepper(settings: ControlSettings) -> bytes:
    """The pepper of the state folder, made when missing. Raises PrivateFileError."""
    path = settings.folder / "pepper"
    pepper = make_private(path, token_bytes(PEPPER_SIZE))
    if len(pepper) != PEPPER_SIZE:
        raise PrivateFileError(
            f"{path} is not {PEPPER_SIZE} bytes long: restore it from a backup, or remove it and all keys"
        )
    return pepper


def build_app(rooms: Rooms, hosts: tuple[str, ...] = ()) -> Gate:
    """The ASGI application. hosts: names under which it may be called."""
    return Gate(_build_litestar(rooms), hosts)


def _build_litestar(rooms: Rooms) -> Litestar:
    return Litestar(
        ROUTES,
        dependencies=dependencies(rooms),
        guards=[authorise],
        state=State({"credentials": rooms.credentials}),
        exception_handlers={
            Problem: answer_problem,
            StoreError: answer_store,
            SealError: answer_seal,
            HTTPException: answer_framework,
            RecursionError: answer_depth,
            Exception: answer_bug,
        },
        request_max_body_size=MOST_BODY,
        openapi_config=None,
        logging_config=None,
    )


SERVING: Final = (
    "directory",
    "keys",
    "admin_keys",
    "policies",
    "registry",
    "vault",
    "trail",
    "billing",
    "alerting",
    "decisions",
)
"""Rooms that handlers are given."""


def dependencies(rooms: Rooms | None) -> dict[str, Provide]:
    """What handlers are given by name. rooms: None to describe the routes without serving them."""

    def room(name: str) -> Provide:
        return Provide(lambda: getattr(rooms, name), sync_to_thread=False)

    named = {name: room(name) for name in SERVING}
    given = named | {"who": Provide(provide_principal), "page": Provide(provide_page)}
    given["document"] = document.provide_document(ROUTES, given)
    return given
