"""The one table that declares every metric family: name, kind, labels, bounds.

Owns: the names that dashboards, alert rules and docs/reference/metrics.md rely on. Does not: count. Constants only.
"""

from typing import Final, Literal

import msgspec

Labels = tuple[str, ...]

OTHER: Final = "other"
UNKNOWN: Final = "unknown"

# Bounds of histogram buckets, in seconds. Twelve each: a page of full tables has to be rendered within 50 ms, and
# prometheus_client takes 5.6 us per line (measured), so every bound of every model is paid for at each scrape.
_LATENCY: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_FIRST_TOKEN: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PER_TOKEN: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
_OVERHEAD: Final = (0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0)
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_MODELS: Final = 64  # label sets of a family that has the model alone
_PAIRS: Final = 192  # of one that has the model and something else


class Family(msgspec.Struct, frozen=True):
    """One metric family.

    `buckets` are upper bounds in seconds, for histograms only. `limit`: so many label sets per process, then `other`.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    limit: int = 1
    unit: float = 1.0  # what one count is worth: whole numbers are counted, and shown times this


def _counter(name: str, help: str, labels: tuple[str, ...] = (), limit: int = 1, unit: float = 1.0) -> Family:
    return Family(name, "counter", help, labels, (), limit, unit)


def _gauge(name: str, help: str, labels: tuple[str, ...] = (), limit: int = 1) -> Family:
    return Family(name, "gauge", help, labels, (), limit)


def _histogram(
    name: str, help: str, buckets: tuple[float, ...], labels: tuple[str, ...] = (), limit: int = 1
) -> Family:
    return Family(name, "histogram", help, labels, buckets, limit)


FAMILIES: Final[tuple[Family, ...]] = (
    _counter("ai_inference_requests_total", "Requests answered.", ("path", "model", "status"), 640),
    _counter("ai_inference_tokens_total", "Tokens, by kind input, output or cached.", ("model", "kind"), _PAIRS),
    _counter(
        "ai_inference_cost_usd_total",
        "What the providers of the endpoints that answered ask, where that is in US dollars.",
        ("model",),
        _MODELS,
        unit=1e-9,
    ),
    _histogram("ai_inference_latency_seconds", "From request to last byte written.", _LATENCY, ("model",), _MODELS),
    _histogram(
        "ai_inference_time_to_first_token_seconds",
        "From request to the first content of a streamed answer.",
        _FIRST_TOKEN,
        ("model",),
        _MODELS,
    ),
    _histogram(
        "ai_inference_time_per_output_token_seconds",
        "Time from the first to the last token of a streamed answer, per token after the first.",
        _PER_TOKEN,
        ("model",),
        _MODELS,
    ),
    _histogram(
        "ai_inference_gateway_overhead_seconds",
        "Time of a request in the gateway itself: total less the time that model servers took.",
        _OVERHEAD,
    ),
    _gauge("ai_inference_in_flight", "Requests accepted and not yet finished.", ("model",), _MODELS),
    _gauge(
        "ai_inference_queue_length",
        "Requests waiting for capacity. Always 0 today: nothing is queued yet.",
        ("model",),
        _MODELS,
    ),
    _gauge(
        "ai_inference_endpoint_health",
        "0 when every attempt at the endpoint failed in the last minute, or its probes fail, else 1.",
        ("model", "endpoint"),
        _PAIRS,
    ),
    _gauge(
        "ai_inference_error_rate",
        "Share of the requests of the last minute that failed through no fault of the caller.",
        ("model",),
        _MODELS,
    ),
    _counter(
        "ai_inference_errors_total",
        "Requests that failed through no fault of the caller, answers that broke off included.",
        ("model", "code"),
        _PAIRS,
    ),
    _counter(
        "ai_inference_fallback_count",
        "Requests that went to another endpoint after the first one failed.",
        ("model",),
        _MODELS,
    ),
    _counter("ai_inference_answers_total", "Requests that an endpoint answered.", ("model", "endpoint"), _PAIRS),
    _counter("ai_inference_upstream_errors_total", "Attempts that an endpoint failed.", ("endpoint", "cause"), _PAIRS),
    _counter(
        "fastpath_watch_questions_total",
        "Answers of endpoints to the watch process, by kind (probe, poll) and result.",
        ("endpoint", "kind", "result"),
        2 * _PAIRS,
    ),
    _gauge("fastpath_watch_up", "1 while the watch process runs, else 0; absent where nothing is watched."),
    _counter("fastpath_watch_restarts_total", "Watch processes started anew after one died or hung."),
    _gauge(
        "fastpath_endpoint_waiting",
        "Requests that wait at an endpoint, by its own word.",
        ("model", "endpoint"),
        _PAIRS,
    ),
    _gauge(
        "fastpath_endpoint_running",
        "Requests that run at an endpoint, by its own word.",
        ("model", "endpoint"),
        _PAIRS,
    ),
    _gauge(
        "fastpath_endpoint_kv_usage",
        "Share of an endpoint's KV cache in use, by its own word.",
        ("model", "endpoint"),
        _PAIRS,
    ),
    _gauge(
        "fastpath_endpoint_sample_age_seconds",
        "Since an endpoint last said how busy it is; from 5 s on that counts less and less.",
        ("model", "endpoint"),
        _PAIRS,
    ),
    _counter("ai_inference_retries_total", "Attempts after the first.", ("model",), _MODELS),
    _counter(
        "fastpath_model_fallbacks_total",
        "Requests that another model took over, by the model that had nobody left and the one that answers.",
        ("model", "to"),
        _PAIRS,
    ),
    _counter(
        "fastpath_breaker_transitions_total",
        "Endpoints' breakers that moved: to open, half_open, resting or closed.",
        ("endpoint", "state"),
        _PAIRS,
    ),
    _counter(
        "fastpath_ejections_total",
        "Endpoints that lost their traffic, by reason: failures, slow (all but a tenth of it) or rest (it asked to).",
        ("endpoint", "reason"),
        _PAIRS,
    ),
    _counter("fastpath_panic_total", "Requests sent to one of several endpoints that were all out."),
    _counter("ai_inference_client_disconnects_total", "Callers that left, by the phase they left in.", ("phase",), 16),
    _counter("fastpath_access_log_lines_total", "Access-log lines written."),
    _counter("fastpath_access_log_dropped_total", "Access-log lines dropped rather than waited for."),
    _histogram("fastpath_loop_lag_seconds", "How late the event loop ran its 100 ms tick.", _LAG),
    _counter("fastpath_usage_estimated_total", "Answers whose usage the upstream did not say.", ("model",), _MODELS),
    _counter(
        "fastpath_usage_disputed_total",
        "Answers whose usage was impossible, and was capped by what was set aside or counted anew.",
        ("model",),
        _MODELS,
    ),
    _counter(
        "fastpath_limit_refusals_total",
        "Requests refused by a limit or budget, by its cause: rate, slots, budget, full or superseded.",
        ("model", "cause"),
        _PAIRS,
    ),
    _counter(
        "fastpath_budget_thresholds_total",
        "Budgets that crossed a threshold, once per period, by owner's kind, percent and action.",
        ("scope", "percent", "action"),
        _PAIRS,
    ),
    _counter(
        "fastpath_idempotency_total",
        "What became of requests with an idempotency key: kept, not_kept, forgotten, replayed, in_progress, conflict, "
        "lost or unprotected.",
        ("result",),
        16,
    ),
    _counter(
        "fastpath_token_refusals_total",
        "Tokens of identity providers that were refused, by the issuer's name and the reason.",
        ("issuer", "reason"),
        _PAIRS,
    ),
    _counter("fastpath_decisions_kept_total", "Records of decisions that were kept."),
    _counter("fastpath_decisions_dropped_total", "Records of decisions that found no room."),
    _counter(
        "fastpath_decisions_evicted_segments_total", "Segments of decisions that went before their time, for room."
    ),
    _counter(
        "fastpath_egress_violations_total",
        "Attempts that the egress gate stopped, by class of the data and tier of the place: a bug of the gateway.",
        ("data_class", "tier"),
        16,
    ),
    _counter(
        "fastpath_extension_faults_total",
        "Wrong answers of scorers, filters and pickers of other packages: raised, length, range or nobody.",
        ("extension", "fault"),
        64,
    ),
    _counter("fastpath_outbox_records_total", "Records of money that workers wrote."),
    _counter("fastpath_outbox_refused_total", "Records that found no room: their requests were not sent."),
    _gauge("fastpath_outbox_bytes", "Bytes of all segments of the outbox, 1 GiB at most."),
    _gauge("fastpath_outbox_backlog_bytes", "Bytes of segments while there is more to read or to book, else 0."),
    _gauge("fastpath_outbox_backlog_records", "Records read and not booked yet. More may be unread."),
    _gauge("fastpath_settlement_lag_seconds", "Everything that was written so long ago is in the books."),
    _counter("fastpath_settlement_records_total", "Records that the control process read."),
    _counter("fastpath_settlement_failures_total", "Batches that could not be booked and were tried again."),
    _counter("fastpath_settlement_lost_total", "Records, at least, that damage to segments has cost."),
    _gauge(
        "fastpath_settlement_lost_bound",
        "Money at most that requests used beyond their bill because their end is lost, looked at every minute.",
        ("currency",),
        16,
    ),
    _gauge(
        "fastpath_settlement_lost_unbounded",
        "Requests whose end is lost and of which nobody can tell what their bill lacks: no price or hold is left.",
    ),
    _counter("fastpath_settlement_quarantined_total", "Records set aside because they cannot be booked."),
    _counter("fastpath_ledger_transactions_total", "Transactions written to the ledger."),
    _counter(
        "fastpath_database_errors_total",
        "Transactions that failed: others were in the way (contended), or the database was away (unavailable).",
        ("kind",),
        4,
    ),
    _gauge("fastpath_publication_version", "Version of what the control process last published: Unix milliseconds."),
    _counter("fastpath_alerts_total", "Budget alerts registered, each once."),
    _counter(
        "fastpath_alert_deliveries_total",
        "Tries to deliver an alert, by result: delivered, failed (tried again) or dead (given up).",
        ("result",),
        4,
    ),
    _gauge("fastpath_alert_deliveries_waiting", "Deliveries of alerts that wait for their next try."),
    _gauge("fastpath_control_up", "1 while the control process answers, else 0."),
    _counter("fastpath_control_restarts_total", "Control processes started anew after one died or hung."),
    _gauge("fastpath_memory_budget_bytes", "Bytes of bodies and relay buffers: used, and the limit.", ("kind",), 2),
    _gauge("fastpath_workers", "Worker processes alive."),
    _gauge("fastpath_workers_wanted", "Worker processes that the settings ask for."),
    _counter("fastpath_worker_restarts_total", "Workers replaced after they died."),
    _counter("fastpath_config_reloads_total", "Reloads of the settings, by result.", ("result",), 4),
    _counter("fastpath_shared_failures_total", "Calls and answers of Redis about shared limits that failed."),
    _gauge("fastpath_shared_degraded", "1 while Redis does not answer and this node goes on with its part."),
    _gauge("fastpath_shared_nodes", "Nodes that share limits, as far as this one knows."),
    _gauge(
        "fastpath_shared_part",
        "Mean part of the shared limits that this node works by, as a share of the whole, by kind.",
        ("kind",),
        3,
    ),
    _gauge("fastpath_build_info", "Always 1; the version is in the label.", ("version",), 4),
)
