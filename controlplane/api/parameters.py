"""What handlers are given by name: who asks, what serves them, which page of a list."""

from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter

from controlplane.access.admin_keys import AdminKeys
from controlplane.access.principal import Principal
from controlplane.audit.trail import Trail
from controlplane.identity.directory import Directory
from controlplane.identity.keys import Keys
from controlplane.paging import MOST, Page
from controlplane.policies.policies import Policies
from controlplane.registry.registry import Registry
from controlplane.secrets.vault import Vault

Who = NamedDependency[Principal]
TheDirectory = NamedDependency[Directory]
TheKeys = NamedDependency[Keys]
TheAdminKeys = NamedDependency[AdminKeys]
ThePolicies = NamedDependency[Policies]
TheRegistry = NamedDependency[Registry]
TheVault = NamedDependency[Vault]
TheTrail = NamedDependency[Trail]
ThePage = NamedDependency[Page]

IdInPath = Annotated[str, PathParameter(description="Id of the object: 32 hex digits.")]
IdInQuery = Annotated[
    str | None, QueryParameter(max_length=64, description="Only what is below the object with this id.")
]
Limit = Annotated[int, QueryParameter(ge=1, le=MOST, description="Objects of a page.")]
After = Annotated[str | None, QueryParameter(max_length=64, description="The `next` of the page before.")]


async def provide_page(limit: Limit = 100, after: After = None) -> Page:
    """The page that the query asks for."""
    return Page(limit, after)
