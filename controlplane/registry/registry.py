"""Models and endpoints: listed, made, edited, drained, removed.

Owns who may say what: an operator all that keeps the gateway running, keys too; an admin alone where an endpoint's data
goes (`tier`, `region`, and the URL of one that has them) and what a model's data is and costs. A key goes to the URL
that it was given for: whoever changes the URL sends it again. Every method takes who asks and raises a Problem. Any
number of tasks may use one.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.access.principal import Principal
from controlplane.access.roles import Role
from controlplane.audit.trail import Change, Subject, Trail
from controlplane.identity.changes import name_taken
from controlplane.identity.shapes import sent
from controlplane.ids import check_id, new_id
from controlplane.paging import Listing, Page, cut, next_of
from controlplane.problem import conflict, forbidden, invalid, missing
from controlplane.registry.judge import check_fields, check_whole, find_faults, unfit
from controlplane.registry.published import ACTIVE
from controlplane.registry.scene import Scene
from controlplane.registry.shapes import (
    GOVERNED,
    TRUSTED,
    EndpointDraft,
    EndpointEdits,
    EndpointFields,
    EndpointView,
    ModelDraft,
    ModelEdits,
    ModelFields,
    ModelView,
    said_by,
)
from controlplane.registry.tables import ENDPOINTS, MODELS
from controlplane.secrets.seal import bound_row
from controlplane.secrets.vault import Vault
from controlplane.store.database import Database
from fastpath.settings import Endpoint, Model
from fastpath.settings.secret import MASK, Secret
from fastpath.settings.syntax import check_secret

MODEL: Final = "model"
ENDPOINT: Final = "endpoint"
MICROS: Final = 1_000_000
#: All go to every worker with each publication, and into one roster.
MOST_MODELS: Final = 1000
MOST_ENDPOINTS: Final = 2000


class Registry:
    """Models and endpoints of the admin API, and a view of those of the settings file."""

    def __init__(self, database: Database, trail: Trail, vault: Vault, scene: Scene) -> None:
        self._database = database
        self._trail = trail
        self._vault = vault
        self._scene = scene

    # -- models

    async def list_models(self, page: Page) -> Listing[ModelView]:
        """One page; the file's stand at the end of the last."""
        async with self._database.read() as connection:
            rows = [*await connection.execute(cut(select(MODELS), MODELS, page))]
            found = [await self._model_view(connection, row) for row in rows[: page.limit]]
        after = next_of(rows, page)
        return Listing(data=found if after else found + self._scene.model_views(), next=after)

    async def get_model(self, text: str) -> ModelView:
        """One model."""
        for view in self._scene.model_views():
            if view.id == text:
                return view
        async with self._database.read() as connection:
            return await self._model_view(connection, await _find(connection, MODELS, text, MODEL))

    async def create_model(self, who: Principal, draft: ModelDraft) -> ModelView:
        """A new model; callers are answered 503 until it has an endpoint."""
        says = _kept({}, said_by(draft, ModelFields))
        _check_role(who, says.keys(), GOVERNED)
        check_fields(Model, draft.name, says)
        self._check_name(draft.name)
        async with self._trail.change(who.actor) as change:
            await _check_room(change.connection, MODELS, MOST_MODELS)
            before = await self._faults(change.connection)
            made = new_id()
            moments = {"created_at": change.at, "updated_at": change.at}
            await _write(change, insert(MODELS).values(id=made, name=draft.name, says=says, **moments))
            check_whole(before, await self._faults(change.connection))
            view = await self._model_view(change.connection, await _find(change.connection, MODELS, made, MODEL))
            await change.record("model.create", Subject(MODEL, made), None, view)
            return view

    async def edit_model(self, who: Principal, text: str, edits: ModelEdits) -> ModelView:
        """Changes the fields that were sent and differ, and nothing else."""
        self._refuse_file(text)
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, MODELS, text, MODEL)
            says = _kept(row.says, said_by(edits, ModelFields))
            name = edits.name if isinstance(edits.name, str) else row.name
            changes = _changes(row.says, says)
            _check_role(who, changes, GOVERNED)
            if name != row.name:
                self._check_name(name)
            view = await self._model_view(change.connection, row)
            if not changes and name == row.name:
                return view
            check_fields(Model, name, says)
            before = await self._faults(change.connection)
            values = {"name": name, "says": says, "updated_at": change.at}
            await _write(change, update(MODELS).where(MODELS.c.id == row.id).values(values))
            check_whole(before, await self._faults(change.connection))
            after = await self._model_view(change.connection, await _find(change.connection, MODELS, text, MODEL))
            await change.record("model.edit", Subject(MODEL, row.id), *_differences(view, after))
            return after

    async def delete_model(self, who: Principal, text: str) -> None:
        """Removes a model that has no endpoints. Callers are answered 404 from then on."""
        self._refuse_file(text)
        async with self._trail.change(who.actor) as change:
            row = await _find(change.connection, MODELS, text, MODEL)
            view = await self._model_view(change.connection, row)
            if view.endpoints:
                raise conflict(f"It still has {view.endpoints} endpoints: remove those first.", "not_empty")
            before = await self._faults(change.connection)
            await change.connection.execute(delete(MODELS).where(MODELS.c.id == row.id))
            check_whole(before, await self._faults(change.connection))
            await change.record("model.delete", Subject(MODEL, row.id), view, None)

    # -- endpoints

    async def list_endpoints(self, model: str | None, page: Page) -> Listing[EndpointView]:
        """One page, of one model or of all; the file's stand at the end of the last."""
        statement = _joined()
        if model is not None:
            statement = statement.where(ENDPOINTS.c.model_id == check_id(model, MODEL))
        async with self._database.read() as connection:
            rows = [*await connection.execute(cut(statement, ENDPOINTS, page))]
        found = [self._endpoint_view(row) for row in rows[: page.limit]]
        after = next_of(rows, page)
        if after is None:
            found += [view for view in self._scene.endpoint_views() if model in (None, view.model_id)]
        return Listing(data=found, next=after)

    async def get_endpoint(self, text: str) -> EndpointView:
        """One endpoint."""
        for view in self._scene.endpoint_views():
            if view.id == text:
                return view
        async with self._database.read() as connection:
            return self._endpoint_view(await _find_endpoint(connection, text))

    async def create_endpoint(self, who: Principal, draft: EndpointDraft) -> EndpointView:
        """A new endpoint. Callers use it as soon as it is published."""
        self._refuse_file(draft.model_id)
        says = _kept({}, said_by(draft, EndpointFields))
        _check_role(who, says.keys(), TRUSTED)
        check_fields(Endpoint, draft.name, says)
        async with self._trail.change(who.actor) as change:
            model = await _find(change.connection, MODELS, draft.model_id, MODEL)
            await _check_room(change.connection, ENDPOINTS, MOST_ENDPOINTS)
            before = await self._faults(change.connection)
            made = new_id()
            values = {
                "id": made,
                "model_id": model.id,
                "name": draft.name,
                "says": says,
                "sealed": None if draft.api_key is None else self._seal(draft.api_key, made),
                "state": draft.state,
                "created_at": change.at,
                "updated_at": change.at,
            }
            await _write(change, insert(ENDPOINTS).values(values))
            check_whole(before, await self._faults(change.connection))
            view = self._endpoint_view(await _find_endpoint(change.connection, made))
            await change.record("endpoint.create", Subject(ENDPOINT, made), None, _told(view))
            return view

    async def edit_endpoint(self, who: Principal, text: str, edits: EndpointEdits) -> EndpointView:
        """Changes the fields that were sent and differ, and nothing else; `state` drains it or takes it back."""
        self._refuse_file(text)
        async with self._trail.change(who.actor) as change:
            row = await _find_endpoint(change.connection, text)
            values = self._edited(who, row, edits)
            view = self._endpoint_view(row)
            if not values:
                return view
            before = await self._faults(change.connection)
            statement = update(ENDPOINTS).where(ENDPOINTS.c.id == row.id)
            await _write(change, statement.values(**values, updated_at=change.at))
            check_whole(before, await self._faults(change.connection))
            after = self._endpoint_view(await _find_endpoint(change.connection, text))
            one, other = _differences(_told(view), _told(after))
            if "sealed" in values:
                one["api_key"] = other["api_key"] = MASK
            await change.record("endpoint.edit", Subject(ENDPOINT, row.id), one, other)
            return after

    async def delete_endpoint(self, who: Principal, text: str) -> None:
        """Removes an endpoint. Requests that run there end as they would have."""
        self._refuse_file(text)
        async with self._trail.change(who.actor) as change:
            row = await _find_endpoint(change.connection, text)
            before = await self._faults(change.connection)
            await change.connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.id == row.id))
            check_whole(before, await self._faults(change.connection))
            await change.record("endpoint.delete", Subject(ENDPOINT, row.id), _told(self._endpoint_view(row)), None)

    def _edited(self, who: Principal, row: Any, edits: EndpointEdits) -> dict[str, Any]:
        """The columns that change."""
        given = sent(edits)
        says = _kept(row.says, said_by(edits, EndpointFields))
        changes = _changes(row.says, says)
        moved = any(name in changes for name in ("url", "preset"))
        _check_role(who, changes, TRUSTED)
        if moved and who.role is not Role.ADMIN and any(name in row.says for name in TRUSTED):
            raise forbidden(
                "Its tier or region was said of the place it is at: only an admin may move it.", "admins_say"
            )
        if moved and row.sealed is not None and "api_key" not in given:
            raise unfit(
                "`api_key` is missing: a key goes only where it was meant to, so send it with a new URL.", "api_key"
            )
        values: dict[str, Any] = {"says": says} if changes else {}
        values |= {
            name: given[name] for name in ("name", "state") if name in given and given[name] != getattr(row, name)
        }
        if changes or "name" in values:
            check_fields(Endpoint, values.get("name", row.name), says)
        if "api_key" in given:
            key = given["api_key"]
            if key is not None or row.sealed is not None:
                values["sealed"] = None if key is None else self._seal(key, row.id)
        return values

    # -- both

    async def _faults(self, connection: AsyncConnection) -> list[str]:
        models = [*await connection.execute(select(MODELS).order_by(MODELS.c.created_at, MODELS.c.id))]
        endpoints = [*await connection.execute(select(ENDPOINTS).order_by(ENDPOINTS.c.created_at, ENDPOINTS.c.id))]
        return find_faults(self._scene, models, endpoints, self._vault.open)

    async def _model_view(self, connection: AsyncConnection, row: Any) -> ModelView:
        of_it = ENDPOINTS.c.model_id == row.id
        count = (await connection.execute(select(func.count()).select_from(ENDPOINTS).where(of_it))).scalar_one()
        return ModelView(
            id=row.id,
            name=row.name,
            owner="api",
            shadowed=self._scene.owns(row.name),
            endpoints=int(count),
            fields=row.says,
            created_at=row.created_at // MICROS,
            updated_at=row.updated_at // MICROS,
        )

    def _endpoint_view(self, row: Any) -> EndpointView:
        served = row.state == ACTIVE and not self._scene.owns(row.model)
        health, message, since = self._scene.health(row.model, row.name) if served else ("Unknown", "", None)
        if self._scene.problem:
            message = self._scene.problem
        values = {
            "id": row.id,
            "model_id": row.model_id,
            "model": row.model,
            "name": row.name,
            "owner": "api",
            "state": row.state,
            "has_key": row.sealed is not None,
            "health": health,
            "message": message,
            "since": since,
            "fields": row.says,
            "created_at": row.created_at // MICROS,
            "updated_at": row.updated_at // MICROS,
        }
        return msgspec.convert(values, EndpointView)

    def _seal(self, key: str, row: str) -> bytes:
        problem = check_secret(key)
        if problem is not None:
            raise invalid(f"`api_key` {problem}.", "api_key")
        return self._vault.seal(Secret(key), bound_row(ENDPOINTS.name, row))

    def _check_name(self, name: str) -> None:
        if self._scene.owns(name):
            raise conflict("The settings file has a model of that name: choose another.", "owned_by_file", "name")

    def _refuse_file(self, text: str) -> None:
        owned = [view.id for view in self._scene.model_views()]
        if text in owned or any(view.id == text for view in self._scene.endpoint_views()):
            raise conflict("It is kept in the settings file, under models: change it there.", "owned_by_file")


def _check_role(who: Principal, names: Any, admins: tuple[str, ...]) -> None:
    for name in admins:
        if name in names and who.role is not Role.ADMIN:
            raise forbidden(f"Only an admin says `{name}`.", "admins_say", name)


def _kept(says: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What is said from now on: null takes a field away."""
    return {name: value for name, value in {**says, **wanted}.items() if value is not None}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _told(view: EndpointView) -> dict[str, Any]:
    """What the trail says of an endpoint: what was decided, not how it happens to be."""
    found: dict[str, Any] = msgspec.to_builtins(view)
    return {name: value for name, value in found.items() if name not in ("health", "message", "since")}


def _differences(before: Any, after: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    one, other = msgspec.to_builtins(before), msgspec.to_builtins(after)
    changed = [name for name in one if one[name] != other[name] and name != "updated_at"]
    return {name: one[name] for name in changed}, {name: other[name] for name in changed}


def _joined() -> Any:
    return select(ENDPOINTS, MODELS.c.name.label("model")).join(MODELS, MODELS.c.id == ENDPOINTS.c.model_id)


async def _check_room(connection: AsyncConnection, table: Table, most: int) -> None:
    if (await connection.execute(select(func.count()).select_from(table))).scalar_one() >= most:
        raise conflict(f"There are {most} {table.name} already, the most there can be: remove one.", "too_many")


async def _find(connection: AsyncConnection, table: Table, text: str, kind: str) -> Any:
    row = (await connection.execute(select(table).where(table.c.id == check_id(text, kind)))).first()
    if row is None:
        raise missing(kind)
    return row


async def _find_endpoint(connection: AsyncConnection, text: str) -> Any:
    row = (await connection.execute(_joined().where(ENDPOINTS.c.id == check_id(text, ENDPOINT)))).first()
    if row is None:
        raise missing(ENDPOINT)
    return row


async def _write(change: Change, statement: Any) -> None:
    try:
        await change.connection.execute(statement)
    except IntegrityError as error:
        raise name_taken() from error
