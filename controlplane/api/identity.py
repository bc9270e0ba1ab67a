"""Routes of tenants, teams, users and keys. Each is one call: what is done stands in `controlplane.identity`."""

from litestar import delete, get, patch, post
from litestar.params import JSONBody

from controlplane.access.roles import ADMINS, EVERYBODY, KEY_MAKERS, KEY_REVOKERS, TENANT_CHIEFS
from controlplane.api.parameters import IdInPath, IdInQuery, TheDirectory, TheKeys, ThePage, Who
from controlplane.api.rules import all_ruled, under
from controlplane.identity.directory import Above
from controlplane.identity.objects import TEAM, TENANT, USER
from controlplane.identity.shapes import (
    IssuedKey,
    KeyDraft,
    KeyEdits,
    KeyView,
    Rotation,
    TeamDraft,
    TeamEdits,
    TeamView,
    TenantDraft,
    TenantEdits,
    TenantView,
    UserDraft,
    UserEdits,
    UserView,
)
from controlplane.paging import Listing


@get("/admin/v1/tenants", opt=under(EVERYBODY))
async def list_tenants(directory: TheDirectory, who: Who, page: ThePage) -> Listing[TenantView]:
    """List tenants. Whoever belongs to one sees that one."""
    return await directory.list(TENANT, who, Above(), page)


@post("/admin/v1/tenants", opt=under(ADMINS))
async def create_tenant(directory: TheDirectory, who: Who, data: JSONBody[TenantDraft]) -> TenantView:
    """Make a tenant."""
    return await directory.create_tenant(who, data)


@get("/admin/v1/tenants/{object_id:str}", opt=under(EVERYBODY))
async def get_tenant(directory: TheDirectory, who: Who, object_id: IdInPath) -> TenantView:
    """Show a tenant."""
    return await directory.get(TENANT, who, object_id)


@patch("/admin/v1/tenants/{object_id:str}", opt=under(ADMINS))
async def edit_tenant(
    directory: TheDirectory, who: Who, object_id: IdInPath, data: JSONBody[TenantEdits]
) -> TenantView:
    """Change the fields of a tenant that are sent."""
    return await directory.edit(TENANT, who, object_id, data)


@delete("/admin/v1/tenants/{object_id:str}", opt=under(ADMINS))
async def delete_tenant(directory: TheDirectory, who: Who, object_id: IdInPath) -> None:
    """Delete a tenant that has no teams."""
    await directory.delete(TENANT, who, object_id)


@get("/admin/v1/teams", opt=under(EVERYBODY))
async def list_teams(
    directory: TheDirectory, who: Who, page: ThePage, tenant_id: IdInQuery = None
) -> Listing[TeamView]:
    """List teams."""
    return await directory.list(TEAM, who, Above(tenant_id), page)


@post("/admin/v1/teams", opt=under(TENANT_CHIEFS))
async def create_team(directory: TheDirectory, who: Who, data: JSONBody[TeamDraft]) -> TeamView:
    """Make a team in a tenant."""
    return await directory.create_team(who, data)


@get("/admin/v1/teams/{object_id:str}", opt=under(EVERYBODY))
async def get_team(directory: TheDirectory, who: Who, object_id: IdInPath) -> TeamView:
    """Show a team."""
    return await directory.get(TEAM, who, object_id)


@patch("/admin/v1/teams/{object_id:str}", opt=under(TENANT_CHIEFS))
async def edit_team(directory: TheDirectory, who: Who, object_id: IdInPath, data: JSONBody[TeamEdits]) -> TeamView:
    """Change the fields of a team that are sent."""
    return await directory.edit(TEAM, who, object_id, data)


@delete("/admin/v1/teams/{object_id:str}", opt=under(TENANT_CHIEFS))
async def delete_team(directory: TheDirectory, who: Who, object_id: IdInPath) -> None:
    """Delete a team that has no users."""
    await directory.delete(TEAM, who, object_id)


@get("/admin/v1/users", opt=under(EVERYBODY))
async def list_users(
    directory: TheDirectory, who: Who, page: ThePage, tenant_id: IdInQuery = None, team_id: IdInQuery = None
) -> Listing[UserView]:
    """List users."""
    return await directory.list(USER, who, Above(tenant_id, team_id), page)


@post("/admin/v1/users", opt=under(TENANT_CHIEFS))
async def create_user(directory: TheDirectory, who: Who, data: JSONBody[UserDraft]) -> UserView:
    """Make a user in a team."""
    return await directory.create_user(who, data)


@get("/admin/v1/users/{object_id:str}", opt=under(EVERYBODY))
async def get_user(directory: TheDirectory, who: Who, object_id: IdInPath) -> UserView:
    """Show a user."""
    return await directory.get(USER, who, object_id)


@patch("/admin/v1/users/{object_id:str}", opt=under(TENANT_CHIEFS))
async def edit_user(directory: TheDirectory, who: Who, object_id: IdInPath, data: JSONBody[UserEdits]) -> UserView:
    """Change the fields of a user that are sent."""
    return await directory.edit(USER, who, object_id, data)


@delete("/admin/v1/users/{object_id:str}", opt=under(TENANT_CHIEFS))
async def delete_user(directory: TheDirectory, who: Who, object_id: IdInPath) -> None:
    """Delete a user that has no keys."""
    await directory.delete(USER, who, object_id)


@get("/admin/v1/keys", opt=under(EVERYBODY))
async def list_keys(
    keys: TheKeys,
    who: Who,
    page: ThePage,
    tenant_id: IdInQuery = None,
    team_id: IdInQuery = None,
    user_id: IdInQuery = None,
) -> Listing[KeyView]:
    """List keys. No secret is shown."""
    return await keys.list(who, Above(tenant_id, team_id, user_id), page)


@post("/admin/v1/keys", opt=under(KEY_MAKERS))
async def create_key(keys: TheKeys, who: Who, data: JSONBody[KeyDraft]) -> IssuedKey:
    """Make a key for a user. Its secret is in this answer and never again."""
    return await keys.issue(who, data)


@get("/admin/v1/keys/{object_id:str}", opt=under(EVERYBODY))
async def get_key(keys: TheKeys, who: Who, object_id: IdInPath) -> KeyView:
    """Show a key, without its secret."""
    return await keys.get(who, object_id)


@patch("/admin/v1/keys/{object_id:str}", opt=under(KEY_MAKERS))
async def edit_key(keys: TheKeys, who: Who, object_id: IdInPath, data: JSONBody[KeyEdits]) -> KeyView:
    """Change the fields of a key that are sent."""
    return await keys.edit(who, object_id, data)


@post("/admin/v1/keys/{object_id:str}/rotate", opt=under(KEY_MAKERS), status_code=200)
async def rotate_key(keys: TheKeys, who: Who, object_id: IdInPath, data: JSONBody[Rotation]) -> IssuedKey:
    """Give a key a new secret. The old one stays good for `overlap` seconds; 0 ends all older ones at once."""
    return await keys.rotate(who, object_id, data)


@delete("/admin/v1/keys/{object_id:str}", opt=under(KEY_REVOKERS))
async def delete_key(keys: TheKeys, who: Who, object_id: IdInPath) -> None:
    """Revoke a key for good."""
    await keys.revoke(who, object_id)


ROUTES = all_ruled(
    (
        list_tenants,
        create_tenant,
        get_tenant,
        edit_tenant,
        delete_tenant,
        list_teams,
        create_team,
        get_team,
        edit_team,
        delete_team,
        list_users,
        create_user,
        get_user,
        edit_user,
        delete_user,
        list_keys,
        create_key,
        get_key,
        edit_key,
        rotate_key,
        delete_key,
    )
)
