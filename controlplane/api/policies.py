"""Routes of policies. Each is one call: what is done stands in `controlplane.policies`."""

from litestar import delete, get, patch, post
from litestar.params import JSONBody

from controlplane.access.roles import POLICY_READERS, TENANT_CHIEFS
from controlplane.api.parameters import IdInPath, IdInQuery, ThePage, ThePolicies, Who
from controlplane.api.rules import all_ruled, under
from controlplane.paging import Listing
from controlplane.policies.shapes import PolicyDraft, PolicyEdits, PolicyView


@get("/admin/v1/policies", opt=under(POLICY_READERS))
async def list_policies(
    policies: ThePolicies, who: Who, page: ThePage, tenant_id: IdInQuery = None
) -> Listing[PolicyView]:
    """List policies. Whoever belongs to a tenant sees that tenant's own."""
    return await policies.list(who, tenant_id, page)


@post("/admin/v1/policies", opt=under(TENANT_CHIEFS))
async def create_policy(policies: ThePolicies, who: Who, data: JSONBody[PolicyDraft]) -> PolicyView:
    """Make a policy. A tenant-admin's holds for the own tenant alone and can only deny."""
    return await policies.create(who, data)


@get("/admin/v1/policies/{object_id:str}", opt=under(POLICY_READERS))
async def get_policy(policies: ThePolicies, who: Who, object_id: IdInPath) -> PolicyView:
    """Show a policy."""
    return await policies.get(who, object_id)


@patch("/admin/v1/policies/{object_id:str}", opt=under(TENANT_CHIEFS))
async def edit_policy(policies: ThePolicies, who: Who, object_id: IdInPath, data: JSONBody[PolicyEdits]) -> PolicyView:
    """Change the fields of a policy that are sent."""
    return await policies.edit(who, object_id, data)


@delete("/admin/v1/policies/{object_id:str}", opt=under(TENANT_CHIEFS))
async def delete_policy(policies: ThePolicies, who: Who, object_id: IdInPath) -> None:
    """Remove a policy."""
    await policies.delete(who, object_id)


ROUTES = all_ruled((list_policies, create_policy, get_policy, edit_policy, delete_policy))
