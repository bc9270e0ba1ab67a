"""The route of decisions: why a request ran where it ran. Read only; nothing of it is in the database."""

from typing import Annotated, Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from controlplane.access.roles import DECISION_READERS
from controlplane.api.parameters import Who
from controlplane.api.rules import all_ruled, under
from controlplane.decisions import Decisions

TheDecisions = NamedDependency[Decisions]
RequestInPath = Annotated[str, PathParameter(description="Id of a request: the `x-request-id` of its answer.")]


@get("/admin/v1/decisions/{object_id:str}", opt=under(DECISION_READERS))
async def get_decision(decisions: TheDecisions, who: Who, object_id: RequestInPath) -> dict[str, Any]:
    """Show how a request was decided. A tenant-admin sees the own tenant's, without the names of endpoints."""
    return await decisions.get(who, object_id)


ROUTES = all_ruled((get_decision,))
