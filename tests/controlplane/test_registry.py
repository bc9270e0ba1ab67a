"""Models and endpoints of the admin API, on both databases: who may say what, edits, and what of them is published."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from controlplane.app import Rooms
from controlplane.publish.compile import Compiled, compile_all
from controlplane.registry.scene import file_id
from controlplane.registry.shapes import EndpointFields, ModelFields
from controlplane.registry.tables import ENDPOINTS
from controlplane.secrets.seal import SealError
from controlplane.store.metadata import micros
from fastpath.liaison import EndpointSeen, ModelSeen, SceneShown
from fastpath.settings import Endpoint, Model, Settings
from fastpath.settings.registry import Registered, find_faults, join_models
from fastpath.settings.roster import decode_roster

CANARY = "sk-canary-5b1f"
URL = "http://127.0.0.1:9001/v1"


async def published(rooms: Rooms) -> tuple[Registered, ...]:
    """As nodes get them."""
    async with rooms.database.read() as connection:
        found: Compiled = await compile_all(connection, micros(1.0), rooms.hasher.pepper_id, rooms.vault.open)
    return decode_roster(found.roster).models


async def make(api: httpx.AsyncClient, path: str, **body: Any) -> Any:
    answer = await api.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def refused(api: httpx.AsyncClient, method: str, path: str, status: int, **body: Any) -> Any:
    answer = await api.request(method, path, **({"json": body} if body else {}))
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


async def as_role(api: httpx.AsyncClient, role: str) -> dict[str, str]:
    issued = await make(api, "/admin-keys", name=role, role=role)
    return {"authorization": f"Bearer {issued['token']}"}


def use_file(rooms: Rooms, *states: EndpointSeen, **file: Any) -> None:
    """What a supervisor says of its settings file: the model `filed` with one endpoint."""
    endpoint = {"name": "home", "url": "http://127.0.0.1:9/v1", "tier": "L1", "has_key": True}
    rooms.scene.show(SceneShown(models=(ModelSeen("filed", [endpoint]),), states=states, **file))


async def test_an_endpoint_is_published_as_a_file_would_say_it(rooms: Rooms, api: httpx.AsyncClient) -> None:
    model = await make(api, "/models", name="small", timeouts={"idle": 5}, picker="least_in_flight")
    one = await make(
        api, "/endpoints", model_id=model["id"], name="a", url=URL, api_key=CANARY, tier="L1", region="eu",
        quality=0.9, context=8192, supports=["tools"], price={"input": 2.5}, probe={"path": "/health"}, paths=None,
    )  # fmt: skip
    assert (one["model"], one["state"], one["has_key"], one["owner"]) == ("small", "active", True, "api")
    assert one["fields"]["price"]["input"] == 2.5
    (found,) = await published(rooms)
    joined = join_models(Settings(), (found,))
    (joined_model,) = joined.models
    (endpoint,) = joined_model.endpoints
    assert endpoint.api_key is not None
    assert (endpoint.api_key.reveal(), endpoint.label, endpoint.tier, endpoint.region) == (CANARY, "a", "L1", "eu")
    assert (endpoint.supports, endpoint.probe and endpoint.probe.path) == (("tools",), "/health")
    assert joined_model.timeouts is not None
    assert (joined_model.timeouts.idle, joined_model.timeouts.total) == (5, Settings().timeouts.total)
    assert find_faults(Settings(), (found,)) == []
    assert (await api.get(f"/endpoints/{one['id']}")).json() == one
    assert (await api.get("/endpoints", params={"model_id": model["id"]})).json()["data"] == [one]


async def test_an_edit_touches_only_its_field_and_is_told(rooms: Rooms, api: httpx.AsyncClient) -> None:
    model = await make(api, "/models", name="small")
    one = await make(api, "/endpoints", model_id=model["id"], name="a", url=URL, api_key=CANARY, weight=3)
    path = f"/endpoints/{one['id']}"
    changed = (await api.patch(path, json={"weight": 5})).json()
    assert {**changed, "updated_at": 0} == {**one, "fields": {"url": URL, "weight": 5}, "updated_at": 0}
    async with rooms.database.read() as connection:
        before = bytes((await connection.execute(select(ENDPOINTS.c.sealed))).scalar_one())
    assert (await api.patch(path, json={"weight": 5})).json() == changed  # which changes nothing, and is not told
    await api.patch(path, json={"api_key": CANARY + "2"})
    async with rooms.database.read() as connection:
        assert bytes((await connection.execute(select(ENDPOINTS.c.sealed))).scalar_one()) != before
    assert (await api.patch(path, json={"weight": None, "chip": "h100"})).json()["fields"] == {
        "url": URL,
        "chip": "h100",
    }
    await api.delete(path)
    entries = [one for one in (await api.get("/audit?limit=100")).json()["data"] if one["kind"] == "endpoint"]
    assert [entry["action"].removeprefix("endpoint.") for entry in entries] == [
        "delete", "edit", "edit", "edit", "create",
    ]  # fmt: skip
    assert entries[2]["before"] == entries[2]["after"] == {"api_key": "***"}
    assert entries[3]["after"] == {"fields": {"url": URL, "weight": 5}}
    assert CANARY not in str(entries)


async def test_draining_and_removing_the_last_leave_a_model_without_endpoints(
    rooms: Rooms, api: httpx.AsyncClient
) -> None:
    model = await make(api, "/models", name="small")
    one = await make(api, "/endpoints", model_id=model["id"], name="a", url=URL)
    path = f"/endpoints/{one['id']}"
    assert (await api.patch(path, json={"state": "draining"})).json()["state"] == "draining"
    assert await published(rooms) == (Registered("small", {}, ()),)
    assert join_models(Settings(), await published(rooms)).models[0].endpoints == ()
    assert (await refused(api, "DELETE", f"/models/{model['id']}", 409))["code"] == "not_empty"
    await api.patch(path, json={"state": "active"})
    assert len((await published(rooms))[0].endpoints) == 1
    assert (await api.delete(path)).status_code == 204
    assert (await api.delete(f"/models/{model['id']}")).status_code == 204
    assert await published(rooms) == ()
    await refused(api, "GET", path, 404)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"),
        ({"url": "ftp://x/"}, "url"),
        ({"url": URL, "weight": -1}, "weight"),
        ({"url": URL, "quality": 2}, "quality"),
        ({"preset": "no-such"}, None),
        ({"url": URL, "api_version": "1"}, None),
        ({"url": "http://8.8.8.8/v1", "tier": "L1"}, None),
        ({"url": "http://${HOME}/v1"}, "url"),
    ],
)
async def test_what_a_node_would_refuse_is_not_stored(
    api: httpx.AsyncClient, body: dict[str, Any], param: str | None
) -> None:
    model = await make(api, "/models", name="small")
    error = await refused(api, "POST", "/endpoints", 422, model_id=model["id"], name="a", **body)
    assert (error["code"], error["param"]) == ("unfit", param)
    assert (await api.get("/endpoints")).json()["data"] == []


async def test_models_are_judged_together_and_with_the_file(rooms: Rooms, api: httpx.AsyncClient) -> None:
    use_file(rooms)
    model = await make(api, "/models", name="small", fallbacks=["filed"])
    error = await refused(api, "POST", "/endpoints", 422, model_id=model["id"], name="a", url=URL, tier="L2")
    assert "data_class" in error["message"]  # which is asked of whoever mixes local endpoints and a cloud
    use_file(rooms, data_class="P0")
    await make(api, "/endpoints", model_id=model["id"], name="a", url=URL, tier="L2")
    error = await refused(api, "POST", "/endpoints", 422, model_id=model["id"], name="b", url=URL)
    assert "same endpoint" in error["message"]
    await make(api, "/endpoints", model_id=model["id"], name="b", url=URL, api_key=CANARY)
    other = await make(api, "/models", name="other", substitutes=["small"])
    error = await refused(api, "PATCH", f"/models/{model['id']}", 422, name="renamed")
    assert "model other: substitutes[0]" in error["message"]
    assert (await refused(api, "PATCH", f"/models/{other['id']}", 422, fallbacks=["none"]))["code"] == "unfit"
    await refused(api, "POST", "/models", 409, name="other")


async def test_what_the_file_owns_is_shown_and_left_alone(rooms: Rooms, api: httpx.AsyncClient) -> None:
    model = await make(api, "/models", name="late")
    use_file(rooms, EndpointSeen("filed", "home", "Failed", "it refuses the key", rooms.scene._monotonic() - 30))
    (own, filed) = (await api.get("/models")).json()["data"]
    assert (own["owner"], filed["owner"], filed["name"], filed["endpoints"]) == ("api", "file", "filed", 1)
    (endpoint,) = (await api.get("/endpoints")).json()["data"]
    assert (endpoint["health"], endpoint["message"], endpoint["has_key"]) == ("Failed", "it refuses the key", True)
    assert endpoint["since"] is not None
    assert endpoint["id"] == file_id("endpoint", "filed", "home")  # which a restart does not change
    for path in (f"/models/{filed['id']}", f"/endpoints/{endpoint['id']}"):
        assert (await api.get(path)).json()["owner"] == "file"
        assert (await refused(api, "PATCH", path, 409, name="x"))["code"] == "owned_by_file"
        assert (await refused(api, "DELETE", path, 409))["code"] == "owned_by_file"
    taken = await refused(api, "POST", "/models", 409, name="filed")
    assert taken["code"] == "owned_by_file"
    await refused(api, "POST", "/endpoints", 409, model_id=filed["id"], name="x", url=URL)
    rooms.scene.show(SceneShown(models=(ModelSeen("late", []),), problem="publication not taken: unfit"))
    assert (await api.get(f"/models/{model['id']}")).json()["shadowed"]
    late = await make(api, "/endpoints", model_id=model["id"], name="x", url=URL)
    assert late["message"] == "publication not taken: unfit"


async def test_operators_run_endpoints_and_do_not_say_whose_data_goes_there(api: httpx.AsyncClient) -> None:
    operator = await as_role(api, "operator")
    model = await make(api, "/models", name="small")

    async def status(method: str, path: str, **body: Any) -> int:
        return (await api.request(method, path, json=body, headers=operator)).status_code

    assert await status("POST", "/models", name="own") == 201
    assert await status("POST", "/models", name="own2", data_class="P2") == 403
    assert await status("PATCH", f"/models/{model['id']}", markup_ppm=5) == 403
    place = {"model_id": model["id"], "url": URL}
    assert await status("POST", "/endpoints", name="a", tier="L1", **place) == 403
    assert await status("POST", "/endpoints", name="a", region="eu", **place) == 403
    assert await status("POST", "/endpoints", name="a", api_key=CANARY, **place) == 201
    local = await make(api, "/endpoints", model_id=model["id"], name="l", url="http://10.0.0.1/v1", region="eu")
    path = f"/endpoints/{local['id']}"
    assert await status("PATCH", path, weight=2, state="draining") == 200
    assert await status("PATCH", path, url="http://10.0.0.2/v1") == 403
    assert await status("PATCH", path, region=None) == 403
    assert await status("PATCH", path, api_key=CANARY) == 200


async def test_a_key_does_not_go_to_another_url(api: httpx.AsyncClient) -> None:
    model = await make(api, "/models", name="small")
    one = await make(api, "/endpoints", model_id=model["id"], name="a", url=URL, api_key=CANARY)
    path = f"/endpoints/{one['id']}"
    error = await refused(api, "PATCH", path, 422, url="http://127.0.0.1:9002/v1")
    assert error["param"] == "api_key"
    moved = await api.patch(path, json={"url": "http://127.0.0.1:9002/v1", "api_key": None})
    assert (moved.status_code, moved.json()["has_key"]) == (200, False)


async def test_keys_are_sealed_and_a_rotation_takes_them_along(rooms: Rooms, api: httpx.AsyncClient) -> None:
    model = await make(api, "/models", name="small")
    await make(api, "/endpoints", model_id=model["id"], name="bare", url=URL)
    await make(api, "/endpoints", model_id=model["id"], name="a", url=URL, api_key=CANARY)
    answers = [(await api.get(path)).text for path in ("/endpoints", "/models", "/audit?limit=100")]
    assert not any(CANARY in text for text in answers)
    async with rooms.database.read() as connection:
        rows = [*await connection.execute(select(ENDPOINTS))]
    assert not any(CANARY in str(row) for row in rows)
    answer = await api.post("/master-key/rotate")
    assert answer.status_code in (200, 201), answer.text
    (found,) = await published(rooms)
    assert [one.api_key and one.api_key.reveal() for one in found.endpoints] == [None, CANARY]


async def test_pages_hold_all_once(api: httpx.AsyncClient, rooms: Rooms) -> None:
    use_file(rooms)
    for number in range(5):
        await make(api, "/models", name=f"m{number}")
    names, after = [], ""
    while True:
        page = (await api.get(f"/models?limit=2{after}")).json()
        names += [one["name"] for one in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert names == ["m0", "m1", "m2", "m3", "m4", "filed"]


async def test_an_endpoint_whose_seal_is_broken_is_not_published_and_can_be_mended(
    rooms: Rooms, api: httpx.AsyncClient
) -> None:
    model = await make(api, "/models", name="small")
    one = await make(api, "/endpoints", model_id=model["id"], name="a", url=URL, api_key=CANARY)
    async with rooms.database.begin() as connection:
        sealed = bytes((await connection.execute(select(ENDPOINTS.c.sealed))).scalar_one())
        await connection.execute(update(ENDPOINTS).values(sealed=sealed[:-1] + bytes([sealed[-1] ^ 1])))
    with pytest.raises(SealError, match="was altered"):
        await published(rooms)
    await api.patch(f"/endpoints/{one['id']}", json={"api_key": CANARY})
    ((endpoint,),) = [model.endpoints for model in await published(rooms)]
    assert endpoint.api_key is not None
    assert endpoint.api_key.reveal() == CANARY


def test_a_model_of_another_version_is_left_out_and_told() -> None:
    found = (Registered("new", {"picker": "of-tomorrow"}), Registered("old", {"picker": "random"}))
    assert [model.name for model in join_models(Settings(), found).models] == ["old"]
    (fault,) = find_faults(Settings(), found)
    assert "model new cannot be read" in fault


def test_every_setting_can_be_said_by_the_api_but_those_that_are_a_files_alone() -> None:
    assert set(ModelFields.__struct_fields__) == set(Model.__struct_fields__) - {"name", "endpoints"}
    assert set(EndpointFields.__struct_fields__) == set(Endpoint.__struct_fields__) - {"name", "api_key", "ca_file"}
