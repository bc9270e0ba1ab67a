"""What was typed, turned into a plan.

Owns the flags as data and the rules about which of them go together. Reads the files they name. One thread.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from fastpath.bench.load import Load, LoadError
from fastpath.bench.prompt import Api
from fastpath.bench.result import Goal
from fastpath.bench.session import Plan
from fastpath.bench.slo import SloError, parse_slo
from fastpath.bench.target import Target, read_headers, read_key, read_url
from fastpath.bench.trace import read_trace

#: Requests when neither a number nor a time nor a trace is given.
DEFAULT_REQUESTS = 100


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of `fastpath bench` by the names of its parameters."""

    url: str
    model: str | None = None
    api: Api = "chat"
    requests: int | None = None
    duration: float | None = None
    rate: float | None = None
    concurrency: int | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    trace: Path | None = None
    speed: float = 1.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    slo: str | None = None
    goodput: float | None = None
    api_key_file: Path | None = None
    header: list[str] | None = None
    extra_body: str | None = None
    ca_file: Path | None = None
    timeout: float = 300.0
    warmup: int = 1
    seed: int = 0


def read_plan(flags: Flags, environ: Mapping[str, str]) -> Plan:
    """The plan. Raises LoadError, SloError or TargetError; the text says which flag is wrong."""
    _check(flags)
    target = Target(
        url=read_url(flags.url),
        api=flags.api,
        key=read_key(flags.api_key_file, environ),
        headers=read_headers(flags.header or ()),
        ca_file=_check_file(flags.ca_file),
        timeout=flags.timeout,
    )
    return Plan(
        target=target,
        load=_read_load(flags),
        trace=None if flags.trace is None else read_trace(flags.trace, flags.requests),
        trace_name=None if flags.trace is None else flags.trace.name,
        model=flags.model,
        extra=_read_extra(flags.extra_body),
        warmup=flags.warmup,
        goal=_read_goal(flags.slo, flags.goodput),
    )


def _read_load(flags: Flags) -> Load:
    enough = flags.requests or flags.duration or flags.trace
    return Load(
        requests=flags.requests if enough else DEFAULT_REQUESTS,
        **{name: getattr(flags, name) for name in Load.__struct_fields__ if name != "requests"},
    )


def _check(flags: Flags) -> None:
    for name in ("rate", "duration", "speed", "timeout"):
        number = getattr(flags, name)
        if number is not None and not (math.isfinite(number) and number > 0):
            raise LoadError(f"--{name} must be a number above 0")
    if flags.trace is not None and flags.rate is not None and flags.speed != 1.0:
        raise LoadError("--rate and --speed both stretch the trace: give one of them")
    if flags.trace is None and flags.speed != 1.0:
        raise LoadError("--speed is for --trace")


def _read_goal(slo: str | None, share: float | None) -> Goal | None:
    if slo is None:
        if share is not None:
            raise LoadError("--goodput needs --slo, which says what a good answer is")
        return None
    try:
        return Goal(parse_slo(slo), share)
    except SloError as error:
        raise SloError(f"--slo: {error}") from error


def _read_extra(text: str | None) -> dict[str, Any]:
    try:
        return {} if text is None else msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise LoadError(f"--extra-body must be a JSON object: {error}") from error


def _check_file(path: Path | None) -> str | None:
    if path is not None and not path.is_file():
        raise LoadError(f"--ca-file {path}: no such file")
    return None if path is None else str(path)
