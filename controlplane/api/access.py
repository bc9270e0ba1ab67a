"""Routes of admin keys, and of the one that was sent."""

from litestar import delete, get, patch, post
from litestar.params import JSONBody

from controlplane.access.roles import ADMIN_KEY_READERS, EVERYBODY, TENANT_CHIEFS
from controlplane.access.shapes import AdminKeyDraft, AdminKeyEdits, AdminKeyView, IssuedAdminKey, Myself
from controlplane.api.parameters import IdInPath, TheAdminKeys, ThePage, Who
from controlplane.api.rules import all_ruled, under
from controlplane.paging import Listing


@get("/admin/v1/me", opt=under(EVERYBODY))
async def get_me(who: Who) -> Myself:
    """Show whose admin key was sent."""
    return Myself(
        id=who.id,
        name=who.name,
        role=who.role,
        tenant_id=who.tenant,
        team_id=who.team,
        user_id=who.user,
        expires_at=who.expires_at,
    )


@get("/admin/v1/admin-keys", opt=under(ADMIN_KEY_READERS))
async def list_admin_keys(admin_keys: TheAdminKeys, who: Who, page: ThePage) -> Listing[AdminKeyView]:
    """List admin keys. No secret is shown."""
    return await admin_keys.list(who, page)


@post("/admin/v1/admin-keys", opt=under(TENANT_CHIEFS))
async def create_admin_key(admin_keys: TheAdminKeys, who: Who, data: JSONBody[AdminKeyDraft]) -> IssuedAdminKey:
    """Make an admin key. Its secret is in this answer and never again."""
    return await admin_keys.issue(who, data)


@get("/admin/v1/admin-keys/{object_id:str}", opt=under(ADMIN_KEY_READERS))
async def get_admin_key(admin_keys: TheAdminKeys, who: Who, object_id: IdInPath) -> AdminKeyView:
    """Show an admin key, without its secret."""
    return await admin_keys.get(who, object_id)


@patch("/admin/v1/admin-keys/{object_id:str}", opt=under(TENANT_CHIEFS))
async def edit_admin_key(
    admin_keys: TheAdminKeys, who: Who, object_id: IdInPath, data: JSONBody[AdminKeyEdits]
) -> AdminKeyView:
    """Change the fields of an admin key that are sent."""
    return await admin_keys.edit(who, object_id, data)


@delete("/admin/v1/admin-keys/{object_id:str}", opt=under(TENANT_CHIEFS))
async def delete_admin_key(admin_keys: TheAdminKeys, who: Who, object_id: IdInPath) -> None:
    """Delete an admin key. The last one of an admin stays."""
    await admin_keys.delete(who, object_id)


ROUTES = all_ruled((get_me, list_admin_keys, create_admin_key, get_admin_key, edit_admin_key, delete_admin_key))
