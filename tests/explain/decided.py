"""Records of decisions made by hand, and put where a worker would put them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastpath.explain.archive import FOLDER
from fastpath.explain.decision import LAYOUT, Decision, Times, Tokens, encode
from fastpath.outbox.facts import Payer
from fastpath.outbox.keeper import Options
from fastpath.outbox.writer import OutboxWriter
from scheduler.choice import Choice, Dropped, Scored, Step
from scheduler.clock import Clock, SystemClock


def make_decision(request: bytes, ts: float = 1_800_000_000.0, **changes: Any) -> Decision:
    """A record as it could be, with a score."""
    choice = Choice(
        "llama",
        "rack-1",
        "score",
        "balanced",
        (Dropped("cloud", Step.SAFETY, "tier"),),
        (Scored("rack-1", 1.0, 0.8, 0.6667, 1.0, 0.8833), Scored("rack-2", 0.6, 0.95, 0.769, 0.25, 0.6688)),
    )
    values: dict[str, Any] = {
        "layout": LAYOUT,
        "request": request,
        "ts": ts,
        "payer": Payer("acme", "search", "ada", "ada-key"),
        "path": "/v1/chat/completions",
        "stream": True,
        "asked": "llama",
        "model": "llama",
        "version": "3.3",
        "endpoint": "rack-1",
        "tier": "L1",
        "region": "eu",
        "data_class": "P1",
        "class_from": "request",
        "policy": "",
        "choices": (choice,),
        "failures": (),
        "attempts": 1,
        "tokens": Tokens(12, 34),
        "cost_nano": 1_500_000,
        "currency": "EUR",
        "times": Times(812.5, 96.25, 81),
        "status": 200,
        "outcome": "complete",
        "error": "",
        "clamped": "",
        "prompt_hash": bytes(32),
        "settings_version": 7,
    }
    return Decision(**(values | changes))


def keep_decisions(state: Path, decisions: Iterable[Decision], clock: Clock | None = None) -> None:
    """Writes records to a state folder, as a worker that has ended."""
    writer = OutboxWriter(state / FOLDER, clock or SystemClock(), Options(segment_bytes=1 << 16), thread=False)
    assert all(writer.put(encode(decision)) for decision in decisions)
    writer.close()
