"""Routes of models and endpoints. Each is one call: what is done stands in `controlplane.registry`."""

from litestar import delete, get, patch, post
from litestar.params import JSONBody

from controlplane.access.roles import REGISTRY_KEEPERS, REGISTRY_READERS
from controlplane.api.parameters import IdInPath, IdInQuery, ThePage, TheRegistry, Who
from controlplane.api.rules import all_ruled, under
from controlplane.paging import Listing
from controlplane.registry.shapes import (
    EndpointDraft,
    EndpointEdits,
    EndpointView,
    ModelDraft,
    ModelEdits,
    ModelView,
)


@get("/admin/v1/models", opt=under(REGISTRY_READERS))
async def list_models(registry: TheRegistry, page: ThePage) -> Listing[ModelView]:
    """List models, those of the settings file too."""
    return await registry.list_models(page)


@post("/admin/v1/models", opt=under(REGISTRY_KEEPERS))
async def create_model(registry: TheRegistry, who: Who, data: JSONBody[ModelDraft]) -> ModelView:
    """Make a model. Only an admin says `data_class`, `price` and `markup_ppm`."""
    return await registry.create_model(who, data)


@get("/admin/v1/models/{object_id:str}", opt=under(REGISTRY_READERS))
async def get_model(registry: TheRegistry, object_id: IdInPath) -> ModelView:
    """Show a model."""
    return await registry.get_model(object_id)


@patch("/admin/v1/models/{object_id:str}", opt=under(REGISTRY_KEEPERS))
async def edit_model(registry: TheRegistry, who: Who, object_id: IdInPath, data: JSONBody[ModelEdits]) -> ModelView:
    """Change the fields of a model that are sent."""
    return await registry.edit_model(who, object_id, data)


@delete("/admin/v1/models/{object_id:str}", opt=under(REGISTRY_KEEPERS))
async def delete_model(registry: TheRegistry, who: Who, object_id: IdInPath) -> None:
    """Remove a model that has no endpoints."""
    await registry.delete_model(who, object_id)


@get("/admin/v1/endpoints", opt=under(REGISTRY_READERS))
async def list_endpoints(registry: TheRegistry, page: ThePage, model_id: IdInQuery = None) -> Listing[EndpointView]:
    """List endpoints and how they are, those of the settings file too."""
    return await registry.list_endpoints(model_id, page)


@post("/admin/v1/endpoints", opt=under(REGISTRY_KEEPERS))
async def create_endpoint(registry: TheRegistry, who: Who, data: JSONBody[EndpointDraft]) -> EndpointView:
    """Add an endpoint to a model. Only an admin says `tier` and `region`."""
    return await registry.create_endpoint(who, data)


@get("/admin/v1/endpoints/{object_id:str}", opt=under(REGISTRY_READERS))
async def get_endpoint(registry: TheRegistry, object_id: IdInPath) -> EndpointView:
    """Show an endpoint and how it is."""
    return await registry.get_endpoint(object_id)


@patch("/admin/v1/endpoints/{object_id:str}", opt=under(REGISTRY_KEEPERS))
async def edit_endpoint(
    registry: TheRegistry, who: Who, object_id: IdInPath, data: JSONBody[EndpointEdits]
) -> EndpointView:
    """Change the fields of an endpoint that are sent; drain it, or take it back."""
    return await registry.edit_endpoint(who, object_id, data)


@delete("/admin/v1/endpoints/{object_id:str}", opt=under(REGISTRY_KEEPERS))
async def delete_endpoint(registry: TheRegistry, who: Who, object_id: IdInPath) -> None:
    """Remove an endpoint. What runs there ends as it would have."""
    await registry.delete_endpoint(who, object_id)


ROUTES = all_ruled(
    (
        list_models,
        create_model,
        get_model,
        edit_model,
        delete_model,
        list_endpoints,
        create_endpoint,
        get_endpoint,
        edit_endpoint,
        delete_endpoint,
    )
)
