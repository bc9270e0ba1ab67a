"""The OpenAPI document of the admin API, made from the routes, and its route and the health check's.

Owns what the framework does not say: who may use a route (`x-roles`), the one shape of errors, the security scheme.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.di import NamedDependency, Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from controlplane.access.roles import EVERYBODY, PUBLIC, Role
from controlplane.api.errors import ErrorAnswer
from controlplane.api.rules import Handlers, all_ruled, rule_of, under

TITLE = "Fastpath admin API"
VERSION = "1"


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


def make_document(handlers: Sequence[HTTPRouteHandler], dependencies: dict[str, Provide]) -> dict[str, Any]:
    """The document of these routes."""
    bearer = SecurityScheme(type="http", scheme="bearer", description="An admin key, `fp-<public id>-<secret>`.")
    config = OpenAPIConfig(
        title=TITLE,
        version=VERSION,
        use_handler_docstrings=True,
        components=Components(security_schemes={"admin_key": bearer}),
    )
    app = Litestar(handlers, dependencies=dependencies, openapi_config=config, logging_config=None)
    document: dict[str, Any] = app.openapi_schema.to_schema()
    rules = {(path, method.lower()): rule_of(handler) for handler in handlers for path, method in places(handler)}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _complete(operation, rules[path, method])
    schemas = document["components"].setdefault("schemas", {})
    _, errors = msgspec.json.schema_components([ErrorAnswer], ref_template="#/components/schemas/{name}")
    schemas.update(errors)
    return document


def places(handler: HTTPRouteHandler) -> list[tuple[str, str]]:
    """Path, as the document writes it, and method of a route."""
    methods = sorted(str(method) for method in handler.http_methods)
    return [(path.replace(":str}", "}"), method) for path in sorted(handler.paths) for method in methods]


def _complete(operation: dict[str, Any], rule: Any) -> None:
    operation["security"] = [] if rule.public else [{"admin_key": []}]
    operation["x-roles"] = [role.value for role in Role if rule.allows(role)]
    operation["responses"] = {
        status: answer for status, answer in operation["responses"].items() if not status.startswith(("4", "5"))
    } | {"default": _ERROR}


_ERROR = {
    "description": "It was refused or failed.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
}


@get("/openapi.json", opt=under(EVERYBODY), media_type="application/json")
async def get_openapi(document: NamedDependency[Any]) -> Response[bytes]:
    """Show this document."""
    return Response(document(), media_type="application/json")


@get("/healthz", opt=under(PUBLIC))
async def get_health() -> Health:
    """Say that the process answers. Asks for no key."""
    return Health()


ROUTES: Handlers = all_ruled((get_openapi, get_health))


def provide_document(handlers: Handlers, dependencies: dict[str, Provide]) -> Provide:
    """The dependency that gives the document's bytes; it is made when somebody first asks for it."""

    @cache
    def encoded() -> bytes:
        return msgspec.json.encode(make_document(handlers, dependencies))

    return Provide(lambda: encoded, sync_to_thread=False)
