"""The gateway's settings as a measurement makes them, the callers' files, what the kernel says, and who ends whom."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from bench.load.chunks import Writer
from bench.overload.firehose import waits
from bench.record import make_record, newest, write
from bench.stage.callers import COUNT, MARK, make_body, make_callers, write_load
from bench.stage.gateway import CONFIG, Plan, fill
from bench.stage.proc import count_waiting, cpu_seconds, descriptors, family, resident_bytes, rss_mb, threads
from bench.stage.programs import Programs, accepts
from fastpath.identity.keys import KeyTable
from fastpath.settings.file import load as load_settings
from fastpath.settings.pepper import make_pepper
from fastpath.settings.token import KeyHasher
from loadtest.ports import free_ports

URLS = ("http://127.0.0.1:9001/v1", "https://127.0.0.1:9002/v1")


def test_a_thousand_keys_open_the_gateway_that_is_measured(tmp_path: Path) -> None:
    callers = make_callers(tmp_path / "state")
    tree = fill(Plan(URLS[:1], "granian", 2), callers, tmp_path / "log")
    settings = load_settings(json.dumps(tree), {})
    assert (len(settings.keys), settings.listen.door, settings.workers) == (COUNT, "granian", 2)
    table = KeyTable(settings.keys, KeyHasher(make_pepper(tmp_path / "state")))
    found = table.find(f"Bearer {callers.tokens[-1]}".encode())
    assert found is not None
    assert found.name == f"caller-{COUNT - 1}"


def test_every_url_is_an_endpoint_and_https_ones_have_an_authority(tmp_path: Path) -> None:
    callers = make_callers(tmp_path / "state", 1)
    authority = tmp_path / "authority.pem"
    (model,) = fill(Plan(URLS, ca=authority), callers, tmp_path / "log")["models"]
    assert [(found["url"], found["ca_file"]) for found in model["endpoints"]] == [(url, str(authority)) for url in URLS]


def test_what_is_claimed_asks_for_keys_and_logs() -> None:
    tree = yaml.safe_load(CONFIG.read_text())
    assert tree["keys"]
    assert tree["log"]["access"] != "off"


def test_the_load_goes_through_every_key_and_never_repeats_a_body(tmp_path: Path) -> None:
    load = write_load(tmp_path, "load", ("one", "two", "three"), make_body("request"))
    writer = Writer(load)
    requests = [writer.next() for _ in range(6)]
    assert [request.count(b"Bearer two\r\n") for request in requests] == [0, 1, 0, 0, 1, 0]
    bodies = {request.partition(b"\r\n\r\n")[2] for request in requests}
    assert len(bodies) == 6
    assert {len(body) for body in bodies} == {len(make_body("request"))}
    assert all(f"content-length: {len(make_body('request'))}\r\n".encode() in request for request in requests)


def test_a_body_without_the_mark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exactly once"):
        write_load(tmp_path, "load", ("one",), MARK.encode() * 2)


def test_a_process_is_measured_by_what_it_uses() -> None:
    pids = [os.getpid()]
    before = cpu_seconds(pids)
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert 0.04 < cpu_seconds(pids) - before < 5
    assert 0 < resident_bytes(pids) <= rss_mb(pids) * 2**20 * 1.01
    assert descriptors(pids) >= 3
    assert threads(pids) >= 1


def test_a_process_that_is_gone_uses_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = [ended.pid]
    assert (cpu_seconds(gone), resident_bytes(gone), descriptors(gone)) == (0, 0, 0)


def test_only_listeners_at_the_port_have_a_queue() -> None:
    row = "   0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:{queue:08X} 00:00000000 0 0 0 1"
    table = ["  sl  local_address rem_address   st tx_queue rx_queue"]
    table += [row.format(port=80, state="0A", queue=7), row.format(port=81, state="0A", queue=9)]
    table += [row.format(port=80, state="01", queue=500)]
    assert count_waiting(table, 80) == 7


def test_programs_end_with_their_owner(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    code = f"import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler).serve_forever()"
    with Programs(tmp_path) as programs:
        pid = programs.start(0, "server", [sys.executable, "-c", code], port)
        assert pid in family(os.getpid())
    assert not accepts(port)
    assert pid not in family(os.getpid())


def test_waits_are_milliseconds_in_order() -> None:
    found = waits([n / 1000 for n in range(100, 0, -1)])
    assert (found.count, found.p50, found.p99, found.max) == pytest.approx((100, 51, 100, 100))


def test_the_newest_record_of_a_suite_is_found(tmp_path: Path) -> None:
    made = make_record("scale", {}, {"points": []}, ["why"], ["what"])
    for year in ("2026", "2028", "2027"):
        write(replace(made, date=f"{year}-01-01T00:00:00+00:00"), tmp_path)
    write(replace(made, suite="slo", date="2030-01-01T00:00:00+00:00"), tmp_path)
    found = newest(tmp_path, "scale")
    assert found is not None
    assert (found.date[:4], found.void, found.missed) == ("2028", ["why"], ["what"])
    assert newest(tmp_path, "e2e") is None
