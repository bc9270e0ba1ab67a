"""From a finished request to the record of its decision, and which requests leave one.

Owns that choice, and where each fact comes from. Does not own where records lie (`archive`). Runs on the worker's loop
and never waits. What it is asked of every request it answers without making anything.
"""

import logging
from typing import TYPE_CHECKING, Final

from fastpath.account.payer import payer_of
from fastpath.explain.decision import LAYOUT, Decision, Times, Tokens, encode
from fastpath.explain.fingerprint import BULK, Fingerprints
from fastpath.explain.headline import headline
from fastpath.explain.trace import choices_of, evidence_of, failures_of
from fastpath.identity.scope import DATA_CLASS
from fastpath.settings import Settings

if TYPE_CHECKING:
    from fastpath.context import RequestContext
    from fastpath.explain.archive import Archive
    from scheduler.choice import Choice

_log = logging.getLogger("fastpath.decisions")

_ALL: Final = 1 << 32
#: Digits of an id that say whether its request is one of the share: the first are of its time, these are random.
_DRAWN: Final = slice(28, 36)


class Facts:
    """What the settings say of endpoints, by model and label; and which labels are names that somebody gave."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        pairs = [(model.name, each) for model in settings.models for each in model.endpoints]
        self.places = {(model, each.label): (each.version or "", each.region or "") for model, each in pairs}
        self.names = frozenset(each.name for _, each in pairs if each.name)


class Recorder:
    """The records of one worker's requests."""

    def __init__(self, archive: "Archive", fingerprints: Fingerprints, settings: Settings) -> None:
        self.archive = archive
        self._fingerprints = fingerprints
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Goes on under other settings."""
        self._share = int(settings.decisions.share * _ALL)
        self._required = frozenset(settings.decisions.required)
        self._facts = Facts(settings)
        self.archive.use(settings.decisions)

    def admits(self, ctx: "RequestContext") -> bool:
        """Whether the request may be sent: its record would be kept, or need not be."""
        return self.archive.roomy or not self._is_required(ctx)

    def note(self, ctx: "RequestContext") -> None:
        """Takes the prompt's fingerprint while the prompt is here, its bytes being on their way already."""
        if self._is_drawn(ctx):
            self._take_fingerprint(ctx)

    def take(self, ctx: "RequestContext") -> None:
        """Keeps the record of a finished request, if it is one that leaves one. Raises nothing."""
        record, path = ctx.record, ctx.path
        ordinary = record.outcome == "complete" and record.failures is None
        if path is None or path.body in ("none", "lookup") or (ordinary and not self._is_drawn(ctx)):
            return
        if ctx.key is None and (ctx.snapshot.keys is not None or ctx.snapshot.tokens is not None):
            return  # nobody knows whose it is: what strangers send must not push out what callers ask for
        try:
            if record.prompt_hash is None:
                self._take_fingerprint(ctx)
            self.archive.put(encode(self._decision(ctx)))
        except Exception:  # whatever one record holds, the request and the other records go on
            self.archive.lost += 1
            _log.exception("a record of a decision could not be made")

    def _is_drawn(self, ctx: "RequestContext") -> bool:
        """Whether it leaves a record however it ends."""
        record = ctx.record
        if (ctx.key is not None and ctx.key.insight) or self._is_required(ctx):
            return True
        return self._share > 0 and int(record.id[_DRAWN], 16) < self._share

    def _is_required(self, ctx: "RequestContext") -> bool:
        """Whether its data is of a class that leaves records: because somebody says so, not because nobody says
        anything, or a gateway before local model servers alone would record all it does."""
        label = ctx.label
        return ctx.record.data_class in self._required and not (label is not None and label.assumed)

    def _take_fingerprint(self, ctx: "RequestContext") -> None:
        members = ctx.members
        if members is None:
            return
        for name in BULK:
            prompt = members.text(name)
            if prompt is not None:
                payer = payer_of(ctx.key)
                ctx.record.prompt_hash = self._fingerprints.take(payer.tenant or payer.key, prompt)
                return

    def _decision(self, ctx: "RequestContext") -> Decision:
        record, route = ctx.record, ctx.route
        choices = trace_of(ctx)
        served = choices[-1].model if choices else (route.name if route is not None else "")
        facts = self._facts if self._facts.settings is ctx.snapshot.settings else Facts(ctx.snapshot.settings)
        version, region = facts.places.get((served, record.endpoint or ""), ("", ""))
        told = "request" if DATA_CLASS in ctx.exchange.fields else "key"
        return Decision(
            LAYOUT,
            bytes.fromhex(record.id[4:]),
            record.ts,
            payer_of(ctx.key),
            ctx.path.template if ctx.path is not None else "",
            bool(record.stream),
            ctx.asked or record.model or "",
            served,
            version,
            record.endpoint or "",
            record.tier or "",
            region,
            record.data_class or "",
            told if record.data_class is not None else "",
            record.policy or "",
            choices,
            failures_of(record.failures),
            record.attempts,
            Tokens(
                record.input_tokens,
                record.output_tokens,
                record.cached_tokens,
                record.reasoning_tokens,
                bool(record.estimated),
                bool(record.disputed),
            ),
            record.cost_nano,
            record.currency or "",
            Times(record.total_ms, record.ttft_ms, record.overhead_us),
            record.status,
            record.outcome,
            record.error or "",
            record.clamped or "",
            record.prompt_hash or b"",
            ctx.snapshot.version,
            evidence=evidence_of(record),
        )


def trace_of(ctx: "RequestContext") -> "tuple[Choice, ...]":
    """The choices of a running or finished request."""
    if ctx.route is None or ctx.path is None:
        return ()
    return choices_of(ctx.record, ctx.route, ctx.path.template, ctx.tiers, ctx.label)


def headline_of(ctx: "RequestContext") -> bytes | None:
    """The line of `x-fastpath-decision` for the latest choice; None before the first."""
    choices = trace_of(ctx)
    if not choices:
        return None
    names = [each.name for model in ctx.snapshot.settings.models for each in model.endpoints]
    endpoint = choices[-1].endpoint
    return headline(choices[-1], ctx.record.tier or "-", endpoint is None or endpoint in names)
