"""Routes of provider keys. A value goes in and never comes out."""

import asyncio

from litestar import delete, get, patch, post
from litestar.params import JSONBody

from controlplane.access.roles import PROVIDER_KEEPERS, PROVIDER_READERS
from controlplane.api.parameters import IdInPath, ThePage, TheVault, Who
from controlplane.api.rules import all_ruled, under
from controlplane.paging import Listing
from controlplane.problem import conflict
from controlplane.secrets.master import MasterKeyError
from controlplane.secrets.shapes import ProviderKeyDraft, ProviderKeyEdits, ProviderKeyView, Resealed


@get("/admin/v1/provider-keys", opt=under(PROVIDER_READERS))
async def list_provider_keys(vault: TheVault, page: ThePage) -> Listing[ProviderKeyView]:
    """List provider keys, without their values."""
    return await vault.list(page)


@post("/admin/v1/provider-keys", opt=under(PROVIDER_KEEPERS))
async def create_provider_key(vault: TheVault, who: Who, data: JSONBody[ProviderKeyDraft]) -> ProviderKeyView:
    """Store a provider's key, sealed."""
    return await vault.create(who, data)


@get("/admin/v1/provider-keys/{object_id:str}", opt=under(PROVIDER_READERS))
async def get_provider_key(vault: TheVault, object_id: IdInPath) -> ProviderKeyView:
    """Show a provider key, without its value."""
    return await vault.get(object_id)


@patch("/admin/v1/provider-keys/{object_id:str}", opt=under(PROVIDER_KEEPERS))
async def edit_provider_key(
    vault: TheVault, who: Who, object_id: IdInPath, data: JSONBody[ProviderKeyEdits]
) -> ProviderKeyView:
    """Change the fields of a provider key that are sent."""
    return await vault.edit(who, object_id, data)


@delete("/admin/v1/provider-keys/{object_id:str}", opt=under(PROVIDER_KEEPERS))
async def delete_provider_key(vault: TheVault, who: Who, object_id: IdInPath) -> None:
    """Remove a provider key."""
    await vault.delete(who, object_id)


@post("/admin/v1/master-key/rotate", opt=under(PROVIDER_KEEPERS), status_code=200)
async def rotate_master_key(vault: TheVault, who: Who) -> Resealed:
    """Read the master keys again and seal under the first what is under another. When `left` is 0, drop the others."""
    try:
        keyring = await asyncio.to_thread(vault.load)
    except MasterKeyError as error:
        raise conflict(f"{error}.", "master_key") from error
    return await vault.rotate(who.actor, keyring)


ROUTES = all_ruled(
    (
        list_provider_keys,
        create_provider_key,
        get_provider_key,
        edit_provider_key,
        delete_provider_key,
        rotate_master_key,
    )
)
