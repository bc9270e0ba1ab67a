"""Lines of the access log."""

from typing import Any

from _native import jsonlines as native
from _native.reference import jsonlines as twin
from bench.micro.conftest import Contest
from fastpath.record import DecisionRecord


def make_record() -> DecisionRecord:
    """A streamed answer as it is logged."""
    record = DecisionRecord("req_" + 32 * "a", 1_795_000_000.123456, "POST", "/v1/chat/completions", "10.0.0.7")
    record.key, record.model, record.endpoint, record.tier = "caller-17", "llama", "127.0.0.1:9001", "L1"
    record.stream, record.status, record.outcome, record.attempts = True, 200, "complete", 1
    record.bytes_in, record.bytes_out, record.events = 912, 20_480, 66
    record.input_tokens, record.output_tokens, record.cached_tokens = 210, 64, 0
    record.overhead_us, record.ttft_ms, record.total_ms = 87, 41.25, 1_903.007
    return record


def test_record(against_twin: Contest) -> None:
    record = make_record()

    def write(lines: Any) -> bytes:
        # Interpreted for the twin too: what is compared is the writing of the members.
        for name in ("id", "method", "path", "client", "label", "key", "model", "endpoint", "tier", "outcome"):
            lines.text(name, getattr(record, name))
        for name in ("status", "attempts", "bytes_in", "bytes_out", "events", "input_tokens", "output_tokens"):
            lines.integer(name, getattr(record, name))
        lines.real("ts", record.ts, 6)
        lines.real("total_ms", record.total_ms, 3)
        lines.end()
        return bytes(lines.take())

    ours, pure = native.JsonLines(), twin.JsonLines()
    assert write(ours) == write(pure)
    against_twin("jsonlines record", lambda: write(ours), lambda: write(pure))
