"""Routes of the audit trail. It is only read."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import get
from litestar.params import QueryParameter
from msgspec import Meta

from controlplane.access.roles import AUDITORS
from controlplane.api.parameters import Limit, TheTrail
from controlplane.api.rules import all_ruled, under
from controlplane.audit.trail import Entry, Verdict, Wanted
from controlplane.paging import Listing

Cursor = Annotated[int | None, QueryParameter(ge=1, description="The `next` of the page before.")]
Which = Annotated[str | None, QueryParameter(max_length=64, description="Only entries of this id.")]


class EntryView(msgspec.Struct, kw_only=True, frozen=True):
    """One change: who, when, what."""

    object: Literal["audit_entry"] = "audit_entry"
    seq: int
    at: Annotated[float, Meta(description="Unix seconds.")]
    actor_id: str
    actor_name: str
    actor_role: str
    action: str
    kind: str
    object_id: str
    tenant_id: str | None
    before: Annotated[dict[str, Any] | None, Meta(description="What changed, as it was; null: it was not there.")]
    after: Annotated[dict[str, Any] | None, Meta(description="What it became; null: it is gone.")]


@get("/admin/v1/audit", opt=under(AUDITORS))
async def list_audit(
    trail: TheTrail,
    limit: Limit = 100,
    after: Cursor = None,
    tenant_id: Which = None,
    object_id: Which = None,
    actor_id: Which = None,
) -> Listing[EntryView]:
    """List changes, the newest first."""
    entries = await trail.entries(Wanted(limit + 1, after, tenant_id, object_id, actor_id))
    shown = entries[:limit]
    following = str(shown[-1].seq) if len(entries) > limit else None
    return Listing(data=[_view(entry) for entry in shown], next=following)


@get("/admin/v1/audit/verify", opt=under(AUDITORS))
async def verify_audit(trail: TheTrail) -> Verdict:
    """Walk the chain of hashes and say whether every entry is as it was written. Note `head` where nobody edits it."""
    return await trail.verify()


def _view(entry: Entry) -> EntryView:
    values: dict[str, Any] = msgspec.structs.asdict(entry)
    told: dict[str, Any] = {
        name: None if values[name] is None else msgspec.json.decode(values[name]) for name in ("before", "after")
    }
    values |= told
    values["at"] = entry.at / 1e6
    return EntryView(**values)


ROUTES = all_ruled((list_audit, verify_audit))
