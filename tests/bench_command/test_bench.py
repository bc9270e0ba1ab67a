"""`fastpath bench` against a model server whose pace is known, each in its own process."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fastpath.cli import app

#: s that a busy machine may add to a mean time; the median of many is closer.
LATE = 0.06


def keys_of(tree: Any, path: str = "") -> Iterator[str]:
    """Every key path of a JSON tree; of lists, those of the first element."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield f"{path}{name}"
            yield from keys_of(value, f"{path}{name}.")
    elif isinstance(tree, list) and tree:
        yield from keys_of(tree[0], path)


def test_a_closed_loop_measures_the_pace_of_the_server(bench: Any, paced: Any) -> None:
    found = bench.result(paced, "-n", "24", "-c", "8", "--input-tokens", "100")
    latency, counts = found["latency"], found["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"], counts["unfinished"]) == (24, 24, 0, 0)
    assert counts["peak_in_flight"] == 8
    assert 0.099 < latency["ttft"]["p50"] < 0.1 + LATE
    assert 0.0095 < latency["tpot"]["p50"] < 0.0125
    assert 0.0095 < latency["inter_token"]["mean"] < 0.0125
    assert latency["inter_token"]["count"] == 24 * 19
    assert 0.289 < latency["e2e"]["p50"] < 0.29 + LATE
    assert found["throughput"]["output_tokens"] == 24 * 20
    assert found["throughput"]["estimated"] is False
    assert 100 <= found["throughput"]["input_tokens"] / 24 < 110  # the chat's own tokens come on top
    assert found["throughput"]["output_tokens_per_s"] == pytest.approx(480 / found["elapsed"])
    assert sum(second["completed"] for second in found["timeline"]) == 24
    assert sum(second["output_tokens"] for second in found["timeline"]) == pytest.approx(480, abs=0.1)
    assert (found["setup"]["model"], found["setup"]["mode"], found["interrupted"]) == ("paced", "closed", False)


def test_an_open_loop_sends_when_requests_are_due(bench: Any, paced: Any) -> None:
    found = bench.result(paced, "--rate", "20", "--arrivals", "constant", "-n", "20", "-o", "out")
    rows = bench.rows("out")
    assert [row["due"] for row in rows] == pytest.approx([number / 20 for number in range(20)], abs=0.002)
    assert all(row["sent"] >= row["due"] for row in rows)
    assert found["elapsed"] >= 19 / 20 + 0.28
    assert found["requests"]["peak_in_flight"] >= 5  # nobody waited for the answers, which take 290 ms
    assert found["generator"]["schedule_lag"]["count"] == 20
    assert found["setup"]["rate"] == 20


def test_the_seed_decides_when_requests_go_out(bench: Any, quick: Any) -> None:
    flags = ("--rate", "100", "-n", "30", "-o")
    for folder, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        bench.result(quick, *flags, folder, "--seed", seed)
    one, again, other = ([row["due"] for row in bench.rows(folder)] for folder in ("one", "again", "other"))
    assert one == pytest.approx(again, abs=0.002)  # a timer that wakes early makes a request due at once
    assert one != pytest.approx(other, abs=0.002)


def test_waiting_for_a_slow_server_counts_from_when_a_request_was_due(bench: Any, slow: Any) -> None:
    found = bench.result(slow, "--rate", "100", "--arrivals", "constant", "-n", "20", "-c", "1", "--slo", "ttft=300ms")
    latency = found["latency"]
    assert found["requests"]["peak_in_flight"] == 1
    assert latency["ttft"]["p50"] < 0.05 + LATE
    # The last of 20 is due after 190 ms and begins when 19 others have had their 50 ms.
    assert latency["ttft_from_due"]["max"] > 0.75
    assert latency["e2e_from_due"]["max"] > latency["e2e"]["max"] + 0.6
    assert found["goodput"]["good"] < 15


def test_prompts_differ_and_have_the_length_asked_for(bench: Any, quick: Any) -> None:
    bench.result(quick, "-n", "30", "-c", "3", "--input-tokens", "50", "--output-tokens", "2", "--warmup", "2")
    records = [record for record in quick.records() if record["path"].endswith("/chat/completions")]
    assert len(records) == 32
    assert len({record["sha256"] for record in records}) == 32
    assert {record["tokens"] for record in records} == {2}


def test_errors_are_counted_by_class_and_never_as_fast_answers(bench: Any, quick: Any) -> None:
    faults: list[dict[str, Any]] = [
        {"status": 429},
        {"cut_after": 2},
        {"in_band_error": 2},
        {"bad_json_event": 1},
        {"garbage": True},
        {"json_not_sse": True},
        {"ttft": 0.1},
    ]
    quick.script(*faults)
    flags = ("--model", "quick", "--warmup", "0", "-n", "28", "--slo", "e2e=30s")
    found = bench.result(quick, *flags)
    assert {error: said["count"] for error, said in found["errors"].items()} == {
        "http_429": 4,
        "disconnected": 4,
        "in_band": 4,
        "malformed": 4,
        "protocol": 4,
        "no_stream": 4,
    }
    assert (found["requests"]["completed"], found["requests"]["failed"]) == (4, 24)
    assert found["latency"]["ttft"]["count"] == found["latency"]["e2e"]["count"] == 4
    assert found["latency"]["ttft"]["min"] > 0.099  # only those that the server held up were answers
    assert found["goodput"]["share"] == pytest.approx(4 / 28)
    assert sum(second["failed"] for second in found["timeline"]) == 24
    assert '"error"' in found["errors"]["http_429"]["example"]


def test_no_success_at_all_is_exit_1_and_the_report_says_why(bench: Any, quick: Any) -> None:
    quick.script({"status": 503})
    done = bench(quick.url, "-n", "3", "--warmup", "0", "--model", "quick", FASTPATH_API_KEY=quick.key)
    assert done.returncode == 1
    assert "## Errors" in done.stdout
    assert "http_503" in done.stdout


def test_a_request_that_takes_too_long_has_failed(bench: Any, quick: Any) -> None:
    quick.script({"stall_after": 2})
    found = bench.result(quick, "-n", "2", "-c", "2", "--warmup", "0", "--timeout", "0.4", code=1)
    assert sum(error["count"] for name, error in found["errors"].items() if name.endswith("timeout")) == 2


@pytest.mark.parametrize(("limits", "met"), [("ttft=5s,tpot=1s", True), ("ttft=50ms", False)])
def test_a_required_goodput_decides_the_exit_code(bench: Any, paced: Any, limits: str, met: bool) -> None:
    flags = ("-n", "4", "-c", "4", "--slo", limits)
    found = bench.result(paced, *flags, "--goodput", "0.95", code=0 if met else 1)
    assert (found["goodput"]["met"], found["goodput"]["share"]) == (met, 1.0 if met else 0.0)
    assert bench.result(paced, *flags)["goodput"]["met"] is None  # only reported: exit 0


def test_a_mooncake_trace_is_replayed(bench: Any, quick: Any) -> None:
    lines = [
        {"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [0, 1]},
        {"timestamp": 1000, "input_length": 700, "output_length": 2, "hash_ids": [0, 2]},
        {"timestamp": 4000, "input_length": 20, "output_length": 1, "hash_ids": [3]},
    ]
    (bench.folder / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = bench.result(quick, "--trace", "trace.jsonl", "--speed", "10", "-o", "out", "--warmup", "0")
    rows = bench.rows("out")
    assert [row["due"] for row in rows] == pytest.approx([0.0, 0.1, 0.4], abs=0.002)
    assert [row["output_tokens"] for row in rows] == [3, 2, 1]
    assert [row["input_tokens"] for row in rows] == pytest.approx([600, 700, 20], abs=12)
    assert (found["setup"]["arrivals"], found["setup"]["trace"]) == ("trace", "trace.jsonl")
    assert found["setup"]["rate"] == pytest.approx(5.0)


def test_an_azure_trace_is_stretched_to_a_rate_and_cut_short(bench: Any, quick: Any) -> None:
    rows = [f"2023-11-16 18:15:{second:02}.5000000,{10 + second},{1 + second % 4}\n" for second in range(50)]
    (bench.folder / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(rows))
    found = bench.result(quick, "--trace", "trace.csv", "--rate", "50", "-n", "20", "--output-tokens", "2", "-o", "out")
    assert [row["due"] for row in bench.rows("out")] == pytest.approx([n / 50 for n in range(20)], abs=0.002)
    assert {row["output_tokens"] for row in bench.rows("out")} == {1, 2}
    assert found["requests"]["completed"] == 20


def test_text_completions_can_be_measured(bench: Any, quick: Any) -> None:
    found = bench.result(quick, "-n", "3", "--api", "completions")
    assert found["requests"]["completed"] == 3
    assert {record["path"] for record in quick.records()} >= {"/v1/completions"}


def test_tokens_are_estimated_when_usage_is_not_told(bench: Any, quick: Any) -> None:
    flags = ("-n", "3", "--extra-body", '{"stream_options": null}')
    found = bench.result(quick, *flags)
    assert (found["throughput"]["estimated"], found["throughput"]["output_tokens"]) == (True, 12)
    done = bench(quick.url, *flags, FASTPATH_API_KEY=quick.key)
    assert "Output tokens are estimated" in done.stdout


def test_ctrl_c_ends_with_the_results_so_far(bench: Any, paced: Any) -> None:
    paced.reset()
    with bench.start(paced.url, "-c", "4", "--duration", "60", "--json", FASTPATH_API_KEY=paced.key) as program:
        paced.wait_records(12)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=20)
    assert program.returncode == 0, err
    found = json.loads(out)
    assert found["interrupted"] is True
    counts = found["requests"]
    assert counts["completed"] >= 8
    assert 1 <= counts["unfinished"] <= 4
    assert counts["sent"] == counts["completed"] + counts["unfinished"]
    assert found["errors"] == {}


def test_ctrl_c_before_anything_was_measured_says_so(bench: Any, quick: Any) -> None:
    quick.script({"stall_after": "head"})
    with bench.start(quick.url, "--model", "quick", FASTPATH_API_KEY=quick.key) as program:
        assert wait_for_running(quick)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=20)
    assert (program.returncode, err.strip()) == (130, "fastpath: interrupted before anything was measured")


def wait_for_running(server: Any) -> bool:
    """Whether the server gets a request under way before the test's patience ends."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics", timeout=5) as page:
            if re.search(r"num_requests_running{.*} 1", page.read().decode()):
                return True
        time.sleep(0.02)
    return False


def test_an_unreachable_endpoint_is_exit_2_with_its_cause(bench: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for flags in ((), ("--model", "m")):
            done = bench(url, *flags)
            assert (done.returncode, done.stdout) == (2, "")
            assert "refused" in done.stderr.lower()
            assert url in done.stderr


def test_a_wrong_key_is_exit_2_and_the_key_is_not_shown(bench: Any, quick: Any) -> None:
    done = bench(quick.url, "--model", "quick", OPENAI_API_KEY="sk-canary-17")
    assert done.returncode == 2
    assert "http_401" in done.stderr
    assert "GET /models was answered with 401" in bench(quick.url).stderr
    assert "sk-canary-17" not in done.stderr + done.stdout


def test_the_key_comes_from_a_file_or_a_header_or_the_environment(bench: Any, quick: Any) -> None:
    (bench.folder / "key").write_text(quick.key + "\n")
    flags = (quick.url, "-n", "1", "--json")
    runs = (
        bench(*flags, "--api-key-file", "key", OPENAI_API_KEY="wrong"),
        bench(*flags, "-H", f"Authorization: Bearer {quick.key}", OPENAI_API_KEY="wrong"),
        bench(*flags, FASTPATH_API_KEY=quick.key, OPENAI_API_KEY="wrong"),
        bench(*flags, OPENAI_API_KEY=quick.key),
    )
    assert [done.returncode for done in runs] == [0] * 4
    assert not any(quick.key in done.stdout + done.stderr for done in runs)


def test_the_url_may_lack_the_version_or_name_an_api(bench: Any, quick: Any) -> None:
    origin = quick.url.removesuffix("/v1")
    for url in (origin, f"{origin}/", f"{quick.url}/", f"{quick.url}/chat/completions"):
        done = bench(url, "-n", "1", "--json", FASTPATH_API_KEY=quick.key)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["setup"]["url"] == quick.url


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("ftp://host",), "not the URL of an API"),
        (("http://user:pw@host/v1",), "must not hold a user"),
        (("http://host:99999",), "Port out of range"),
        (("http://host", "--slo", "ttft=200"), "--slo: 'ttft=200' needs a unit"),
        (("http://host", "--goodput", "0.9"), "--goodput needs --slo"),
        (("http://host", "--rate", "0"), "--rate must be a number above 0"),
        (("http://host", "--rate", "nan"), "--rate must be a number above 0"),
        (("http://host", "--speed", "2"), "--speed is for --trace"),
        (("http://host", "--trace", "none"), "--trace none: No such file"),
        (("http://host", "--extra-body", "[]"), "--extra-body must be a JSON object"),
        (("http://host", "-H", "no colon"), "must be NAME: VALUE"),
        (("http://host", "-H", "a: b\r\nc: d"), "must be NAME: VALUE"),
        (("http://host", "--api-key-file", "none"), "No such file"),
        (("http://host", "--ca-file", "none"), "--ca-file none: no such file"),
    ],
)
def test_bad_usage_is_exit_2_and_says_what_to_change(bench: Any, flags: tuple[str, ...], said: str) -> None:
    done = bench(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_folder_has_the_result_the_report_and_a_line_for_each_request(bench: Any, quick: Any) -> None:
    found = bench.result(quick, "-n", "5", "--slo", "ttft=1s", "-o", "deep/out")
    folder = bench.folder / "deep" / "out"
    assert json.loads((folder / "result.json").read_text()) == found
    report = (folder / "report.md").read_text()
    assert f"# quick at {quick.url}" in report
    assert "5 requests, closed loop of 1 client; 256 tokens in, 128 tokens out, seed 0." in report
    assert "| time to first token (TTFT) " in report
    assert "goodput (ttft ≤ 1000 ms)" in report
    assert len(bench.rows("deep/out")) == 5


def test_the_picture_is_drawn(bench: Any, quick: Any) -> None:
    pytest.importorskip("matplotlib")
    quick.script({"status": 500}, {}, {})
    bench.result(quick, "-n", "6", "-o", "out", "--slo", "ttft=1s", "--warmup", "0", "--model", "quick")
    assert (bench.folder / "out" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_single_answer_has_a_picture_too(bench: Any, paced: Any) -> None:
    pytest.importorskip("matplotlib")
    paced.reset()
    paced.script({"stall_after": "head"})
    flags = (paced.url, "--model", "paced", "--warmup", "0", "-o", "out", "--json")
    with bench.start(*flags, FASTPATH_API_KEY=paced.key) as program:
        assert wait_for_running(paced)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=20)
    paced.reset()
    assert (program.returncode, err) == (1, "")
    assert json.loads(out)["requests"] == {
        **dict.fromkeys(("sent", "unfinished", "peak_in_flight"), 1),
        **dict.fromkeys(("completed", "failed"), 0),
    }
    assert (bench.folder / "out" / "plot.png").exists()


def test_without_matplotlib_the_other_files_are_written_and_the_extra_is_named(bench: Any, quick: Any) -> None:
    (bench.folder / "matplotlib.py").write_text("raise ImportError('not installed')\n")
    path = f"{bench.folder}:{Path(__file__).resolve().parents[2]}"
    done = bench(quick.url, "-n", "1", "-o", "out", FASTPATH_API_KEY=quick.key, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "pip install 'fastpath-gateway[plot]'" in done.stderr
    names = sorted(path.name for path in (bench.folder / "out").iterdir())
    assert names == ["report.md", "requests.jsonl", "result.json"]


def test_a_terminal_sees_how_far_the_run_is(bench: Any, paced: Any) -> None:
    master, slave = pty.openpty()
    environ = bench.environ({"FASTPATH_API_KEY": paced.key, "TERM": "xterm"})
    command = [sys.executable, "-m", "fastpath.cli", "bench", paced.url, "-n", "4"]
    with subprocess.Popen(
        command, cwd=bench.folder, env=environ, stdout=subprocess.PIPE, stderr=slave, text=True
    ) as program:
        os.close(slave)
        shown = b"".join(iter(lambda: read_terminal(master), b""))
        assert program.wait(20) == 0
        assert program.stdout is not None
        assert "time to first token" in program.stdout.read()
    os.close(master)
    assert b"measuring" in shown
    assert b"1 in flight" in shown


def read_terminal(master: int) -> bytes:
    """What was written to the terminal; nothing when its last writer has left."""
    try:
        return os.read(master, 4096)
    except OSError:
        return b""


SUMMARY = ("count", "mean", "min", "p50", "p90", "p99", "p99_9", "max")


def test_the_shape_of_the_result_is_stable(bench: Any, quick: Any) -> None:
    found = bench.result(quick, "-n", "2", "--slo", "ttft=1s", "--goodput", "0.5")
    assert found["version"] == 1
    latency = ("ttft", "tpot", "inter_token", "e2e", "ttft_from_due", "e2e_from_due")
    assert list(found) == [
        *("version", "fastpath", "started_at", "interrupted", "elapsed", "setup", "requests", "errors", "throughput"),
        *("latency", "goodput", "generator", "timeline"),
    ]
    assert {key for key in keys_of(found) if "." in key and not key.startswith("setup.")} == {
        *(f"requests.{name}" for name in ("sent", "completed", "failed", "unfinished", "peak_in_flight")),
        *(f"throughput.{name}" for name in ("requests_per_s", "output_tokens_per_s", "input_tokens_per_s")),
        *(f"throughput.{name}" for name in ("output_tokens", "input_tokens", "estimated")),
        *(f"latency.{name}" for name in latency),
        *(f"latency.{name}.{field}" for name in latency for field in SUMMARY),
        *(f"goodput.{name}" for name in ("limits", "good", "share", "requests_per_s", "required_share", "met")),
        *(f"goodput.limits.{name}" for name in ("ttft", "tpot", "e2e")),
        *(f"generator.{name}" for name in ("schedule_lag", "loop_lag", "bound", "too_slow")),
        *(f"generator.{name}.{field}" for name in ("schedule_lag", "loop_lag") for field in SUMMARY),
        *(f"timeline.{name}" for name in ("second", "completed", "failed", "output_tokens")),
    }
    assert set(found["setup"]) == {
        *("url", "model", "api", "mode", "arrivals", "rate", "concurrency", "requests", "duration", "trace"),
        *("input_tokens", "output_tokens", "seed", "warmup"),
    }
    bench.result(quick, "-n", "1", "--warmup", "0", "--model", "no-such-model", code=1)


def test_every_flag_is_in_the_reference() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text()
    listed = set(re.findall(r"^\| `(--[\w-]+)", page.partition("## `bench`")[2], re.MULTILINE))
    command: Any = get_command(app)
    flags = {name for option in command.commands["bench"].params for name in option.opts}
    assert listed == {name for name in flags if name.startswith("--")}
