"""The script of faults, in the process and over HTTP."""

import re
from pathlib import Path

import pytest

from backends.mock import Fault


async def statuses(mock, count):
    return [(await mock.chat()).status for _ in range(count)]


async def test_a_script_is_used_up(mock):
    mock.server.script([Fault(status=500)], times=2)
    assert await statuses(mock, 3) == [500, 500, 200]


async def test_faults_take_turns(mock):
    mock.server.script([Fault(status=500), Fault(), Fault(status=429)])
    assert await statuses(mock, 4) == [500, 200, 429, 500]


async def test_a_new_script_replaces_the_old_one(mock):
    mock.server.script([Fault(status=500)])
    mock.server.script([Fault(status=502)], times=1)
    assert await statuses(mock, 2) == [502, 200]


async def test_a_path_limits_it(mock):
    mock.server.script([Fault(status=503)], path="/v1/models")
    assert await statuses(mock, 1) == [200]
    assert (await mock.fetch(b"", "/v1/models", method="GET")).status == 503


async def test_the_requests_own_fault_wins(mock):
    mock.server.script([Fault(status=503)])
    assert (await mock.chat(Fault(status=418))).status == 418


async def test_over_http(mock):
    script = {"faults": [{"status": 500, "retry_after": 1}], "times": 1}
    assert (await mock.fetch(script, "/mock/script")).status == 200
    assert await statuses(mock, 2) == [500, 200]
    records = (await mock.fetch(b"", "/mock/records", method="GET")).json
    assert [record["status"] for record in records] == [500, 200]
    assert records[0]["fault"] == {"status": 500, "retry_after": 1.0}
    await mock.fetch(script, "/mock/script")
    assert (await mock.fetch(b"", "/mock/reset")).status == 200
    assert await statuses(mock, 1) == [200]
    assert len((await mock.fetch(b"", "/mock/records", method="GET")).json) == 1


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/mock/script", {"faults": [{"statuz": 500}]}, "statuz"),
        ("/mock/script", {"faults": [{"how": "softly"}]}, "softly"),
        ("/v1/chat/completions", {"model": "mock-model", "messages": [], "mock": {"cut": 1}}, "cut"),
    ],
)
async def test_a_mistake_in_a_fault_is_told(mock, path, body, found):
    reply = await mock.fetch(body, path)
    assert reply.status == 400
    assert found in reply.json["error"]["message"]


async def test_fault_of_an_upload(mock):
    body = b'--b\r\ncontent-disposition: form-data; name="mock"\r\n\r\n{"status": 507}\r\n--b--\r\n'
    reply = await mock.fetch(
        body, "/v1/audio/transcriptions", headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert reply.status == 507


def test_every_switch_has_a_test():
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    untested = [name for name in Fault.__struct_fields__ if not re.search(rf"\b{name}\b[\"']?\s*[=:]", sources)]
    assert untested == []
